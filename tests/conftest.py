"""All tests compute in one thread, and so do the programs they start.

Networks this small are slowed down by more, and the sums of convolutions depend on the number.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when it is imported
