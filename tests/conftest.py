"""What all Python tests share: nothing is fetched, and what transformers keeps goes to a folder of this process."""

import atexit
import os
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"  # both before transformers reads them
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="pscale_modules_")
atexit.register(shutil.rmtree, os.environ["HF_MODULES_CACHE"], ignore_errors=True)
