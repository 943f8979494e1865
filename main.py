"""`python3 main.py [ARGS]` is `./dev up [ARGS]`: set up what is missing, then start the platform."""

import os
import sys

DEV = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dev")

if __name__ == "__main__":
    os.execv(sys.executable, [sys.executable, DEV, "up", *sys.argv[1:]])
