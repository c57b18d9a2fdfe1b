"""A whole save beside cachetx, by redis-py and cachetx's functions. docs/protocol.md explains each step.

    cachetx functions dump --format json > functions.json
    cachetx rules expand rules.json --own product --task reprice --param … --format json > keys.json
    python3 save.py redis://127.0.0.1/ functions.json keys.json shops/main-street/product-tea.json cents 5
"""
import contextlib, fcntl, json, os, shutil, sys, time, uuid
import redis

LOCK_MS, ENTRY_MS, NO_JOURNAL = 60_000, 24 * 3_600_000, b"-" * 16
url, functions, keys, path, member, amount = sys.argv[1:]
functions, keys = json.load(open(functions))["functions"], json.load(open(keys))
folder, name = os.path.split(os.path.abspath(path))
client = redis.Redis.from_url(url)
own, lock = keys["own"], keys["own"] + ":lock"  # all keys of these rules have the same hash tag
entries = [own] + [entry["key"] for entry in keys["keys"]]
leases = "{%s}:cachetx:leases" % own[own.index("{") + 1 : own.index("}")]

def call(operation, keys, *arguments):
    return client.fcall(functions[operation], len(keys), *keys, *arguments)

def identity():
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns

@contextlib.contextmanager
def sidecar():  # its OS lock, and what it says: the last fence and modification time
    while True:
        with open(os.path.join(folder, f".{name}.cachetx"), "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            words = (file.seek(0), file.read().split())[1]
            is_there = os.path.exists(file.name) and os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
            if is_there and (len(words) != 6 or words[4] == NO_JOURNAL):
                yield (int(words[2]), int(words[3])) if len(words) == 6 else (0, 0)
                return
        time.sleep(0.01)  # it was removed, or a process that uses cachetx has a transaction to finish first

def save(change):
    with sidecar() as (floor, _):
        pass
    while True:
        value, until = json.dumps({"token": uuid.uuid4().hex, "owner": f"python:{os.getpid()}"}), time.monotonic() + LOCK_MS / 1000
        taken = call("acquire", [lock, lock + ":fence"], value, LOCK_MS, floor)
        if taken[0] == b"acquired":
            break
        time.sleep(0.002)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.python")
    try:
        with sidecar() as (_, last), open(path, "rb") as file:
            document, read = json.load(file), identity()
        change(document)
        with open(temporary, "wb") as file:
            file.write(json.dumps(document, separators=(",", ":")).encode())
            file.flush()
            shutil.copymode(path, temporary)
            modified = max(time.time_ns(), max(last, read[0]) + 1_000_000)
            os.utime(file.fileno(), ns=(modified, modified))
            os.fsync(file.fileno())
        with sidecar() as (fence, last):
            if fence > int(taken[1]) or last >= modified or identity() != read or time.monotonic() >= until:
                raise RuntimeError("another program has saved the document, or the lock has expired")
            os.rename(temporary, path)
            stamp = "%d-%d-%d" % identity()[:3]
        directory = os.open(folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    except BaseException:
        call("release", [lock], value, lock + ":free")
        raise
    call("invalidate", [lock, own + ":stamp", leases, *entries], "", 1, 1, 1, value, lock + ":free", stamp, ENTRY_MS, len(entries))
    return document

def add(document):
    document[member] += int(amount)

print(save(add))
