"""Process 1 of an image: `/app/entry.py web|worker|relay|all|migrate|contract|settings` runs the one service in it."""

import os
import runpy
import sys

sys.path.insert(0, "/app")
name = os.environ["HUSTINGS_SERVICE"]
module = "deploy.embedded.mailbox" if name == "mailbox" else f"services.{name}"
runpy.run_module(module, run_name="__main__", alter_sys=True)
