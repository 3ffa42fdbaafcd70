"""A recorder of training runs: Weights & Biases."""

from maskdcpt_cli.training.events import Step, Validated


class WandbRecorder:
    def __init__(self, run_dir, preset):
        import wandb

        name = run_dir.name
        self.run = wandb.init(project="maskdcpt", group=name, dir=run_dir, config=preset)

    def record(self, event):
        if isinstance(event, Step) and event.iteration % 50 == 0:
            self.run.log({"loss": event.losses, "lr": event.lr}, step=event.iteration)
        elif isinstance(event, Validated):
            self.run.log({"validation": event.scores}, step=event.iteration)

    def close(self):
        self.run.finish()


RECORDERS = {"wandb": WandbRecorder}
