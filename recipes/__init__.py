"""How the embedded models were made and measured."""
