"""The measuring part of scripts/bench-containers: docker commands against two daemons.

  container_bench.py ROOT RUNS JSON CASE...

Runs in the test host, beside ROOT, in which the programs are. The daemons listen at
ROOT/run/hull.sock and ROOT/run/docker.sock; each and all that it starts are in the groups of
processes /sys/fs/cgroup/hull and /sys/fs/cgroup/docker. Each case is run RUNS times and once
more before that, which is not counted. Elapsed is the client's, from exec to its end; the
daemon's processor time is taken half a second later, so that what it does after its answer
counts; idle is what is left of the elapsed time. Appends a line of JSON for each case.
"""
import json
import os
import signal
import statistics
import subprocess
import sys
import time

SIDES = ("hull", "docker")
GROUPS = "/sys/fs/cgroup/"
QUIET = 0.5
LONGEST = 120  # virtual seconds of a command
root, runs, json_file, *wanted = sys.argv[1:]
runs = int(runs)


def processor_ms(group):
    with open(GROUPS + group + "/cpu.stat") as file:
        return int(file.readline().split()[1]) / 1000


def start(side, words, output, compose=None):
    """Runs the docker client in the root, or docker-compose for the project in a folder of the test
    host's, in a group of its own; returns its process."""
    child = os.fork()
    if child:
        return child
    try:
        with open(GROUPS + "client/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(target, 1)
        os.dup2(target, 2)
        signal.alarm(LONGEST)  # the emulator may stop a guest for good (scripts/bench-io --help)
        variables = {"PATH": "/usr/bin", "HOME": "/root", "DOCKER_HOST": f"unix:///run/{side}.sock"}
        if compose:
            variables["DOCKER_HOST"] = f"unix://{root}/run/{side}.sock"
            os.chdir(compose)
            os.execve("/usr/bin/docker-compose", ["docker-compose", *words], variables)
        os.chroot(root)
        os.chdir("/")
        os.execve("/usr/bin/docker", ["docker", *words], variables)
    finally:
        os._exit(127)


def docker(side, *words, compose=None):
    """Runs the client, which is to succeed; returns what it says."""
    output = "/dev/shm/said"
    status = os.waitstatus_to_exitcode(os.waitpid(start(side, words, output, compose), 0)[1])
    with open(output) as file:
        said = file.read()
    if status != 0:
        raise SystemExit(f"{side}: docker{'-compose' if compose else ''} {' '.join(words)} ended with {status}: {said}")
    return said


def measure(side, *words, compose=None):
    """Milliseconds: elapsed, the client's processor time, the daemon's, idle."""
    client, daemon = processor_ms("client"), processor_ms(side)
    begin = time.monotonic_ns()
    docker(side, *words, compose=compose)
    elapsed = (time.monotonic_ns() - begin) / 1e6
    client = processor_ms("client") - client
    idle = max(0.0, elapsed - client - (processor_ms(side) - daemon))
    time.sleep(QUIET)
    return {"elapsed": elapsed, "client": client, "daemon": processor_ms(side) - daemon, "idle": idle}


IMAGE = "busybox"
NAME = "measured"


def run_none(side):
    return measure(side, "run", "--rm", "--network", "none", IMAGE, "true")


def run(side):
    return measure(side, "run", "--rm", IMAGE, "true")


def run_detached(side):
    figures = measure(side, "run", "-d", "--name", NAME, IMAGE, "sleep", "100000")
    docker(side, "rm", "-f", NAME)
    return figures


def in_container(side, measured):
    docker(side, "run", "-d", "--name", NAME, IMAGE, "sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait")
    time.sleep(QUIET)
    figures = measured()
    docker(side, "rm", "-f", NAME)
    return figures


def execute(side):
    return in_container(side, lambda: measure(side, "exec", NAME, "true"))


def stop(side):
    return in_container(side, lambda: measure(side, "stop", NAME))


def pull(image):
    def pull_it(side):
        figures = measure(side, "pull", "-q", image)
        docker(side, "rmi", image)
        return figures
    return pull_it


CONTEXT = "/context"
SHORT = "FROM busybox\nCOPY file /file\nRUN echo made >/made\nCMD [\"cat\", \"/made\"]\n"
LONG = ("FROM busybox\nLABEL of=bench\nENV A=1 B=2\nARG version=3\nWORKDIR /srv\n"
        "COPY file /srv/one\nCOPY file /srv/two\nCOPY --chown=1:1 file /srv/three\n"
        "RUN echo 1 >one.made\nRUN mkdir folder && echo 2 >folder/made\nRUN rm one && echo 3 >three.made\n"
        "RUN ln -s folder link && chmod 600 three\nRUN cp -r folder six && echo 4 >six/four\nRUN test -e six/four\n"
        "EXPOSE 80\nVOLUME /data\nUSER 1\nSTOPSIGNAL SIGINT\nENTRYPOINT [\"cat\"]\nCMD [\"/srv/three\"]\n")


def build(dockerfile, *options):
    def build_it(side):
        os.makedirs(root + CONTEXT, exist_ok=True)
        for name, text in (("Dockerfile", dockerfile), ("file", "content\n" * 1000)):
            with open(f"{root}{CONTEXT}/{name}", "w") as file:
                file.write(text)
        if not options:
            docker(side, "build", "-q", CONTEXT)  # which fills the cache
        figures = measure(side, "build", *options, "-t", "built", CONTEXT)
        if options:
            docker(side, "rmi", "built")
        return figures
    return build_it


LARGE = "/tmp/large"


def make_large():
    """100 MB, as well packed as programs are, so that neither daemon has an easy time."""
    if not os.path.exists(root + LARGE):
        with open(root + LARGE, "wb") as file:
            for _ in range(100):
                file.write(os.urandom(500_000) + bytes(500_000))


def copy_into_running(side):
    make_large()
    return in_container(side, lambda: measure(side, "cp", LARGE, NAME + ":/large"))


def copy_into_created(side):
    make_large()
    docker(side, "create", "--name", NAME, IMAGE, "true")
    figures = measure(side, "cp", LARGE, NAME + ":/large")
    docker(side, "rm", NAME)
    return figures


def commit(side):
    make_large()
    docker(side, "create", "--name", NAME, IMAGE, "true")
    docker(side, "cp", LARGE, NAME + ":/large")
    docker(side, "start", "-a", NAME)
    figures = measure(side, "commit", NAME, "committed")
    docker(side, "rm", NAME)
    docker(side, "rmi", "committed")
    return figures


def fetch_from_another(side):
    """200 MB that another container of the same network has in memory, when both have done it once."""
    docker(side, "network", "create", "between")
    docker(side, "run", "-d", "--name", "server", "--network", "between", "--tmpfs", "/www", IMAGE, "sh", "-c",
           "dd if=/dev/zero of=/www/large bs=1M count=200 && exec httpd -f -p 80 -h /www")
    docker(side, "run", "-d", "--name", NAME, "--network", "between", IMAGE, "sleep", "100000")
    docker(side, "exec", NAME, "sh", "-c", "until wget -q -O /dev/null http://server/large; do sleep 1; done")
    figures = measure(side, "exec", NAME, "wget", "-q", "-O", "/dev/null", "http://server/large")
    docker(side, "rm", "-f", "server", NAME)
    docker(side, "network", "rm", "between")
    return figures


PROJECT = "/dev/shm/project"
SERVICES = """version: "2.4"
services:
  front: {image: nginx, ports: ["8080:80"], depends_on: [web]}
  web: {image: busybox, command: ["httpd", "-f", "-p", "80"], depends_on: [store, base]}
  store: {image: redis, tmpfs: [/data]}
  base: {image: postgres, tmpfs: [/var/lib/postgresql/data], environment: {POSTGRES_PASSWORD: bench}}
"""


def compose_project():
    """Volumes would be shares of virtio-fs with Hull, which hang in this clock: so there are none."""
    os.makedirs(PROJECT, exist_ok=True)
    with open(PROJECT + "/docker-compose.yml", "w") as file:
        file.write(SERVICES)
    up, down = {}, {}
    for side in SIDES:
        for _ in range(runs + 1):
            up.setdefault(side, []).append(measure(side, "up", "-d", compose=PROJECT))
            time.sleep(5)  # what starts, starts
            down.setdefault(side, []).append(measure(side, "down", "-t", "1", compose=PROJECT))
    report("compose-up", "docker-compose up -d of four services", {side: up[side][1:] for side in SIDES})
    report("compose-down", "docker-compose down of them", {side: down[side][1:] for side in SIDES})


def unpack_tree(folder):
    return lambda side: measure(side, "run", "--rm", "--network", "none", "-v", "/volume", "tree", "sh", "-c",
                                f"tar -xf /tree.tar -C {folder} && find {folder} -type f | wc -l")


def run_many_layers(side):
    return measure(side, "run", "--rm", "--network", "none", "layers", "true")


CASES = {
    "run-none": ("docker run --rm --network none IMAGE true", run_none),
    "run": ("docker run --rm IMAGE true", run),
    "run-d": ("docker run -d IMAGE", run_detached),
    "exec": ("docker exec CONTAINER true", execute),
    "stop": ("docker stop CONTAINER", stop),
    "pull": ("docker pull, 130 MB", pull("medium")),
    "pull-large": ("docker pull, 900 MB", pull("large")),
    "build": ("docker build --no-cache, COPY, RUN and CMD", build(SHORT, "--no-cache")),
    "build-cached": ("docker build, COPY, RUN and CMD, all in the cache", build(SHORT)),
    "build-20": ("docker build --no-cache, 20 steps", build(LONG, "--no-cache")),
    "cp": ("docker cp, 100 MB into a container that runs", copy_into_running),
    "cp-created": ("docker cp, 100 MB into a container that was created", copy_into_created),
    "commit": ("docker commit, 100 MB", commit),
    "between": ("wget of 200 MB from another container, by docker exec", fetch_from_another),
}


def text_of(figures, kind):
    values = [each[kind] for each in figures]
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def report(name, title, rows):
    """Each row is what it is called with its figures; its ratio is to the last one's."""
    print(f"\n{title}: median of {runs} (least-most), virtual ms")
    print(f"{'':12}{'elapsed':>20}{'daemon, all it starts':>24}{'client':>18}{'idle':>18}")
    medians = {}
    for label, figures in rows.items():
        medians[label] = {kind: statistics.median(each[kind] for each in figures) for kind in figures[0]}
        print(f"{label:12}{text_of(figures, 'elapsed'):>20}{text_of(figures, 'daemon'):>24}"
              f"{text_of(figures, 'client'):>18}{text_of(figures, 'idle'):>18}", flush=True)
    names = list(rows)
    first, last = medians[names[0]], medians[names[-1]]
    ratios = {kind: first[kind] / last[kind] for kind in ("elapsed", "daemon")}
    print(f"{names[0]} to {names[-1]}: elapsed {ratios['elapsed']:.2f}, "
          f"daemon's processor time {ratios['daemon']:.2f}", flush=True)
    with open(json_file, "a") as file:
        file.write(json.dumps({"case": name, "runs": runs, "ms": medians, "ratio": ratios}) + "\n")


def time_case(name, title, rows):
    """Each row is what it is called, its side, and what measures it."""
    report(name, title, {label: [measured(side) for _ in range(runs + 1)][1:] for label, side, measured in rows})


def memory_of(process):
    """Of a process in KiB: its own (proportional), and what it holds of a guest's memory."""
    own, guest, is_guest = 0, 0, False
    with open(f"/proc/{process}/smaps") as file:
        for line in file:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                begin, end = (int(each, 16) for each in words[0].split("-"))
                is_guest = end - begin >= 100 << 20 and len(words) < 6
            elif words[0] == "Pss:":
                if is_guest:
                    guest += int(words[1])
                else:
                    own += int(words[1])
    return own, guest


def processes_of(side):
    for folder, _, _ in os.walk(GROUPS + side):
        with open(folder + "/cgroup.procs") as file:
            for process in file.read().split():
                try:
                    with open(f"/proc/{process}/cmdline") as words:
                        yield int(process), words.read().split("\0")
                except OSError:
                    continue


def measure_memory(containers=20):
    print(f"\nmemory with {containers} containers, MiB (proportional, guests' own memory apart)", flush=True)
    found = {}
    for side in SIDES:
        for number in range(containers):
            docker(side, "run", "-d", "--name", f"many{number}", IMAGE, "sleep", "100000")
        time.sleep(5)
        kinds = {}
        guests = []
        for process, words in processes_of(side):
            kind = os.path.basename(words[0])
            if kind == "hulld":
                kind += " " + words[1]
            own, guest = memory_of(process)
            kinds.setdefault(kind, []).append(own / 1024)
            if guest:
                guests.append(guest / 1024)
        for kind, values in sorted(kinds.items()):
            print(f"{side:8}{kind:30}{len(values):>4} processes, together {sum(values):8.1f}, median "
                  f"{statistics.median(values):6.1f}")
        if guests:
            print(f"{side:8}{'held of a guest memory':30}{len(guests):>4} guests, median {statistics.median(guests):6.1f}, "
                  f"most {max(guests):6.1f}", flush=True)
        found[side] = {"processes": {kind: sum(values) for kind, values in kinds.items()}, "guests": guests}
        docker(side, "rm", "-f", *[f"many{number}" for number in range(containers)])
    with open(json_file, "a") as file:
        file.write(json.dumps({"case": "memory", "containers": containers, "mib": found}) + "\n")


os.makedirs(GROUPS + "client", exist_ok=True)
for case in wanted:
    if case == "memory":
        measure_memory()
    elif case == "compose":
        compose_project()
    elif case == "layers":  # of which dockerd 20.10 takes 125 at most
        time_case(case, "docker run --rm --network none IMAGE true",
                  [("127 layers", "hull", run_many_layers), ("one layer", "hull", run_none)])
    elif case == "volume":
        time_case(case, "docker run --rm -v /volume IMAGE, untar and find of 6,700 files",
                  [("in a volume", "hull", unpack_tree("/volume")), ("in its own", "hull", unpack_tree("/root"))])
    else:
        title, measure_it = CASES[case]
        time_case(case, title, [(each, each, measure_it) for each in SIDES])
