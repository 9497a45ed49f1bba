"""What freezing and restoring a machine takes. Run by scripts/bench-snapshot in a test host whose clock counts
instructions: ROOT is a folder in its memory with hull, a kernel and an initramfs; RUNS how often each is measured."""
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time

root, runs, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
CLONES = 20
hull = root + "/hull"
api = root + "/api"
frozen = root + "/frozen"


class Client(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, method, target, body=None):
        """The answer's body, and how long it took in ms."""
        begin = time.perf_counter()
        self.request(method, target, body=None if body is None else json.dumps(body))
        answer = self.getresponse()
        text = answer.read()
        took = (time.perf_counter() - begin) * 1000
        if answer.status >= 300:
            raise RuntimeError(f"{method} {target}: {answer.status} {text}")
        return text, took


def start(words, **more):
    return subprocess.Popen([hull, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, cwd=root, **more)


def wait_for(process, text):
    seen = b""
    while text not in seen:
        part = os.read(process.stdout.fileno(), 4096)
        if not part:
            raise RuntimeError(f"it has ended: {seen!r} {process.stderr.read()!r}")
        seen += part


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def shown(values):
    return f"{statistics.median(values):8.2f} ({min(values):.2f}-{max(values):.2f})"


results = {}


def tell(name, values, bar):
    results[name] = {"median": statistics.median(values), "least": min(values), "most": max(values), "bar": bar}
    print(f"{name:58}{shown(values):>28}{bar:>10}", flush=True)


print(f"256 MiB, 1 vCPU, the small kernel; median of {runs} (least-most), virtual ms{'bar':>24}", flush=True)
machine = start(["boot", "--kernel", "small.bzImage", "--initramfs", "initramfs", "--memory", "256M",
                 "--api-socket", api])
wait_for(machine, b"hull#")
client = Client(api)
client.ask("GET", "/")
tell("a question that only reads (client's part included)", [client.ask("GET", "/")[1] for _ in range(20 * runs)],
     "0.2")
pauses, resumes = [], []
for _ in range(10 * runs):
    pauses.append(client.ask("PATCH", "/vm", {"state": "Paused"})[1])
    resumes.append(client.ask("PATCH", "/vm", {"state": "Resumed"})[1])
tell("pause (the same)", pauses, "1")
tell("resume (the same)", resumes, "1")
begin = time.perf_counter()
subprocess.run([hull, "ctl", api, "snapshot", frozen], check=True)
tell("hull ctl … snapshot, whole", [(time.perf_counter() - begin) * 1000], "-")
client.ask("PUT", "/actions", {"action_type": "SendCtrlAltDel"})
machine.communicate()

first, answer = [], []
for number in range(runs + 1):
    begin = time.perf_counter()
    machine = start(["restore", "--timing", frozen])
    machine.stdin.write(b"echo answer$((40 + 2))\n")
    machine.stdin.flush()
    wait_for(machine, b"answer42")
    took = (time.perf_counter() - begin) * 1000
    machine.stdin.write(b"poweroff -f\n")
    machine.stdin.flush()
    errors = machine.communicate()[1].decode()
    if number > 0:  # the first reads what was never read before
        answer.append(took)
        first.append(float(re.search(r"first instruction after ([0-9.]+) ms", errors)[1]))
tell("restore, from exec to the guest's first instruction", first, "20")
tell("restore, from exec to its shell's answer to a line", answer, "40")

clones = [start(["restore", "--console", "none", frozen]) for _ in range(CLONES)]
time.sleep(5)
held = [private_kib(children(clone.pid)[0]) / 1024 for clone in clones]
results["clones"] = {"count": CLONES, "mean_mib": statistics.mean(held), "most_mib": max(held), "bar": "6"}
print(f"{CLONES} idle machines of it: {statistics.mean(held):.2f} MiB of private memory each on average, "
      f"{max(held):.2f} at most; bar 6")
for clone in clones:
    clone.kill()
    clone.wait()
with open(out, "a", encoding="ascii") as file:
    file.write(json.dumps({"runs": runs, **results}) + "\n")
