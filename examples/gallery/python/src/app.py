"""The application: a table that is built once, and what answers the requests."""
import gc
import os
import random
import threading

TABLE = {f"item{number}": f"costs {number} cents" for number in range(500_000)}


def answer(path):
    item = path.strip("/")
    if item == "all":
        # Reading an object writes to its reference count, and so unshares its page.
        return f"{sum(len(text) for text in TABLE.values())} letters"
    return f"{item} {TABLE.get(item, 'is unknown')}; drew {random.random()}"


def start_refresher():
    refresher = threading.Thread(target=threading.Event().wait, name="refresher", daemon=True)
    refresher.start()


# A thread belongs in each worker. One that is started by the import would be in the first process only, where prefork
# refuses to fork and names it: try `REFRESH=at-import`.
if os.environ.get("REFRESH") == "at-import":
    start_refresher()
else:
    os.register_at_fork(after_in_child=start_refresher)

# The garbage collector leaves alone what exists by now: its visits would write to each object, and unshare its page.
gc.freeze()
