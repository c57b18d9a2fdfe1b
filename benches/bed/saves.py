"""Saves one document when told to: "save" is answered by its time in ns, "warm" once there is something to delete."""
import json, platform, sys, time, uuid

way, url, rules_path, run, task, controller, size = sys.argv[1:]
value = '"' + "v" * (int(size) - 2) + '"'
LOCK_MS, ENTRY_S = 60_000, 72 * 3_600
UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def rules():
    """The keys of all controllers, and those that the task makes out of date."""
    with open(rules_path) as file:
        parsed = json.load(file)
    keys = {name: key.format(run_id=run) for name, key in parsed["cache_keys"].items()}
    return keys[controller], [keys[name] for name in parsed["rules"][task]["invalidates_cache"]]


class RulesAtCall:
    def __init__(self):
        import redis

        self.versions = f"redis-py {redis.__version__}"
        self.client = redis.Redis.from_url(url)
        self.unlock = self.client.register_script(UNLOCK)
        self.lock = rules()[0] + ":python-lock"

    def save(self):
        token = uuid.uuid4().hex
        assert self.client.set(self.lock, token, nx=True, px=LOCK_MS)
        own, dependents = rules()
        self.client.set(own, value, ex=ENTRY_S)
        for key in dependents:
            self.client.delete(key)
        assert self.unlock(keys=[self.lock], args=[token]) == 1


class Helpers:
    def __init__(self):
        import redis

        self.versions = f"redis-py {redis.__version__}"
        self.client = redis.Redis.from_url(url)
        self.own, self.dependents = rules()

    def save(self):
        with self.client.lock(self.own + ":python-lock", timeout=LOCK_MS / 1000):
            pipe = self.client.pipeline(transaction=True)
            pipe.set(self.own, value, ex=ENTRY_S)
            if self.dependents:
                pipe.delete(*self.dependents)
            pipe.execute()


class Cacheops:
    def __init__(self):
        import django
        from django.conf import settings

        settings.configure(
            INSTALLED_APPS=["cacheops"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            DEFAULT_AUTO_FIELD="django.db.models.AutoField",
            CACHEOPS_REDIS=url,
            CACHEOPS={"*.*": {"ops": "all", "timeout": ENTRY_S}},
        )
        django.setup()
        import cacheops
        from django.db import connection, models

        class Document(models.Model):
            run = models.CharField(max_length=64)

            class Meta:
                app_label = "bench"

        with connection.schema_editor() as editor:
            editor.create_model(Document)
        self.cacheops, self.documents = cacheops, Document.objects
        self.document = self.documents.create(run=run)
        self.own, self.dependents = rules()
        self.versions = f"django-cacheops {cacheops.__version__}, Django {django.__version__}"

    def warm(self):
        for n in range(len(self.dependents)):
            list(self.documents.filter(run=run).cache()[: n + 1])

    def save(self):
        self.cacheops.cache.set(self.own, value, timeout=ENTRY_S)
        self.cacheops.invalidate_obj(self.document)


subject = {"rules_at_call": RulesAtCall, "helpers": Helpers, "cacheops": Cacheops}[way]()
print(f"{subject.versions}, Python {platform.python_version()}", flush=True)
for order in sys.stdin:
    start = time.perf_counter_ns()
    subject.save() if order.strip() == "save" else subject.warm()
    print(time.perf_counter_ns() - start, flush=True)
