"""A whole save beside cachetx, by redis-py and cachetx's functions. docs/protocol.md explains each step.

    cachetx functions dump --format json > functions.json
    cachetx rules expand rules.json --own product --task reprice --param … --format json > keys.json
    python3 save.py redis://127.0.0.1/ functions.json keys.json shops/main-street/product-tea.json cents 5
"""
import contextlib, fcntl, json, os, re, shutil, sys, time, uuid
import redis

LOCK_MS, ENTRY_MS = 60_000, 24 * 3_600_000
SIDECAR = re.compile(rb"cachetx 2 (\d{20}) (\d{20}) (-{16}|[0-9a-f]{16}) [0-9a-f]{16}\n")
url, functions, keys, path, member, amount = sys.argv[1:]
functions, keys = json.load(open(functions)), json.load(open(keys))
folder, name = os.path.split(os.path.abspath(path))
client = redis.Redis.from_url(url)
own, lock = keys["own"], keys["own"] + ":lock"  # all keys of these rules have the same hash tag
entries = [own] + [entry["key"] for entry in keys["keys"]]
leases = "{%s}:cachetx:leases" % own[own.index("{") + 1 : own.index("}")]

def call(operation, keys, *arguments):
    while True:
        try:
            return client.fcall(functions["functions"][operation], len(keys), *keys, *arguments)
        except redis.ResponseError as error:  # the server has lost the library
            if "Function not found" not in str(error):
                raise
            client.function_load(functions["text"], replace=True)

def identity(file):
    found = os.stat(file)
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns

@contextlib.contextmanager
def sidecar():  # its OS lock, and what it says: the last fence and modification time
    while True:
        with open(os.path.join(folder, f".{name}.cachetx"), "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            line = SIDECAR.fullmatch(file.read())
            is_there = os.path.exists(file.name) and os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
            if is_there and (line is None or line[3] == b"-" * 16):
                yield (int(line[1]), int(line[2])) if line else (0, 0)
                return
        time.sleep(0.01)  # it was removed, or a process that uses cachetx has a transaction to finish first

def acquire():
    with sidecar() as (floor, _):
        pass
    while True:
        value = json.dumps({"token": uuid.uuid4().hex, "owner": f"python:{os.getpid()}"})
        until = time.monotonic() + LOCK_MS / 1000
        taken = call("acquire", [lock, lock + ":fence"], value, LOCK_MS, floor)
        if taken[0] == b"acquired":
            return value, int(taken[1]), until
        time.sleep(0.002)

def save(change):
    value, own_fence, until = acquire()
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.python")
    try:
        with sidecar() as (_, last), open(path, "rb") as file:
            document, read = json.load(file), identity(file.fileno())
        change(document)
        with open(temporary, "xb") as file:
            file.write(json.dumps(document, separators=(",", ":")).encode())
            file.flush()
            shutil.copymode(path, temporary)
            modified = max(time.time_ns(), max(last, read[0]) + 1_000_000)
            os.utime(file.fileno(), ns=(modified, modified))
            os.fsync(file.fileno())
        with sidecar() as (fence, last):
            if fence > own_fence or last >= modified or identity(path) != read or time.monotonic() >= until:
                raise RuntimeError("another program has saved the document, or the lock has expired")
            os.rename(temporary, path)  # the save counts from here on
            stamp = "%d-%d-%d" % identity(path)[:3]
    except BaseException:
        if os.path.exists(temporary):  # nothing was saved
            os.unlink(temporary)
            call("release", [lock], value, lock + ":free")
        raise
    with contextlib.suppress(OSError):  # some file systems cannot sync folders
        directory = os.open(folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    while True:  # until the server has it
        try:
            call("invalidate", [lock, own + ":stamp", leases, *entries], "", 1, 1, 1, value, lock + ":free", stamp, ENTRY_MS, len(entries))
            return document
        except (redis.ConnectionError, redis.TimeoutError):
            time.sleep(0.2)

def add(document):
    document[member] += int(amount)

print(save(add))
