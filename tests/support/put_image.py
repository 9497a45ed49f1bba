"""Puts an image into a registry: put_image.py URL NAME:TAG CONFIG LAYER.tar...

The registry at URL takes it without asking who is there. CONFIG is the image's
"config" as JSON ('{"Cmd":["sh"]}'); the layers, the lowest first, are compressed
by gzip at its quickest. For the benchmarks and the comparison of daemons.
"""
import gzip
import hashlib
import json
import sys
import urllib.parse
import urllib.request


def put(url, data, media_type):
    request = urllib.request.Request(url, data, {"Content-Type": media_type}, method="PUT")
    urllib.request.urlopen(request).close()


def put_blob(base, data):
    """Returns the digest, as the registry and the manifest call it."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    start = urllib.request.Request(base + "/blobs/uploads/", b"", method="POST")
    with urllib.request.urlopen(start) as answer:
        place = urllib.parse.urljoin(base, answer.headers["Location"])
    put(place + ("&" if "?" in place else "?") + "digest=" + digest, data, "application/octet-stream")
    return digest


def main():
    url, name, config, *layers = sys.argv[1:]
    repository, tag = name.rsplit(":", 1)
    base = url + "/v2/" + repository
    parts, unpacked = [], []
    for layer in layers:
        with open(layer, "rb") as file:
            data = file.read()
        unpacked.append("sha256:" + hashlib.sha256(data).hexdigest())
        packed = gzip.compress(data, 1, mtime=0)
        parts.append({"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                      "size": len(packed), "digest": put_blob(base, packed)})
    text = json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
                       "config": json.loads(config), "rootfs": {"type": "layers", "diff_ids": unpacked},
                       "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "put_image"}] * len(layers)})
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": media_type,
                "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                           "size": len(text), "digest": put_blob(base, text.encode())},
                "layers": parts}
    put(base + "/manifests/" + tag, json.dumps(manifest).encode(), media_type)


main()
