# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by those who source this
# Hull's daemon beside Debian's dockerd: what scripts/bench-containers and
# scripts/compare-docker share. Sourced by them for make_images, and in the
# test host for the rest.

# registry_config FOLDER ADDRESS: what docker-registry reads.
registry_config() {
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "%s"}\n' "$1" "$2"
}

# with_registry FOLDER COMMAND...: runs the command, with the address of a
# registry that keeps its images in FOLDER in $registry, on this machine.
with_registry() {
    local folder=$1 port status=0 serving
    shift
    mkdir -p "$folder"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    registry_config "$folder" "127.0.0.1:$port" >"$folder/../registry.yml"
    docker-registry serve "$folder/../registry.yml" >"$folder/../registry.log" 2>&1 &
    serving=$!
    registry=http://127.0.0.1:$port
    for _ in {1..100}; do
        ! { : >"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || break
        sleep 0.1
    done
    "$@" || status=$?
    kill "$serving"
    wait "$serving" || true
    return "$status"
}

# busybox_layer FILE: the archive of a root with a static busybox and all its
# commands.
busybox_layer() {
    local root command
    root=$(mktemp -d)
    mkdir -p "$root"/{bin,tmp,etc,root}
    chmod 755 "$root"
    chmod 1777 "$root/tmp"
    cp "$(command -v busybox)" "$root/bin/busybox"
    while read -r command; do
        [[ $command == busybox ]] || ln -s busybox "$root/bin/$command"
    done < <(busybox --list)
    printf 'root:x:0:0::/root:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\n' >"$root/etc/group"
    tar -C "$root" --sort=name --owner=0 --group=0 --mtime=@0 -cf "$1" .
    rm -rf "$root"
}

# The rest runs in the test host.

# make_root DEBIAN_DOCKER CLIENT: a root in memory, /dev/shm/root, with all that
# takes part: the shared file system answers in real time, while the clock may
# count instructions. Sets `root`. This folder is the project's.
make_root() {
    local docker=$1 client=$2 program programs
    root=/dev/shm/root
    mkdir -p $root
    mount -t tmpfs -o mode=755 root $root # jails need a root that is a mount
    mkdir -p $root/{dev,proc,sys,tmp,run,etc/ssl,var/lib,root,images,lib/modules,disk,cache/guest}
    chmod 1777 $root/tmp
    ln -s /run $root/var/run
    programs=("$docker"/usr/bin/{containerd,containerd-shim-runc-v2,docker-init} "$docker"/usr/sbin/{dockerd,docker-proxy,runc}
        "$(command -v iptables)" "$(command -v mke2fs)" "$(command -v ip)" "$(command -v mount)" "$(command -v umount)"
        "$(command -v docker-registry)" "$(command -v modprobe)" "$(command -v tar)"
        "$(command -v sh)" "$(command -v sync)" "$(command -v ps)" build/release/hull{,d,-supervisor,-file-server,-user-net}
        /usr/lib/qemu/virtiofsd)
    mkdir -p $root/usr/{bin,sbin}
    ln -s usr/bin usr/sbin $root
    for program in "${programs[@]}"; do
        cp -L "$program" $root/usr/bin
        # shellcheck disable=SC2046 # a list of files
        cp -n --parents -L $(ldd "$program" 2>/dev/null | grep -o '/[^ )]*') $root 2>/dev/null || true
    done
    mkdir -p $root/usr/lib/qemu # where Debian has it, and Hull looks first
    mv $root/usr/bin/virtiofsd $root/usr/lib/qemu
    cp "$client" $root/usr/bin/docker
    for program in iptables-save iptables-restore ip6tables; do
        ln -sf iptables $root/usr/bin/$program
    done
    cp -r --parents /usr/lib/x86_64-linux-gnu/xtables /etc/ld.so.cache /etc/mke2fs.conf $root 2>/dev/null || true
    printf 'root:x:0:0::/root:/bin/sh\n' >$root/etc/passwd
    printf 'root:x:0:\n' >$root/etc/group
    printf 'nameserver 192.0.2.1\n' >$root/etc/resolv.conf
    printf '127.0.0.1 localhost\n' >$root/etc/hosts
    cp build/release/hull-agent.initramfs $root/usr/bin
    for program in dev proc sys; do
        mount --rbind /$program $root/$program
    done
    mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup $root/sys/fs/cgroup
}

# load_modules DEBIAN: what dockerd's and Hull's networks need of the kernel.
load_modules() {
    local name
    depmod -b "$1/modules" "$(uname -r)"
    for name in veth bridge br_netfilter nf_nat nft_chain_nat nft_masq nft_compat xt_nat xt_MASQUERADE \
        xt_conntrack xt_addrtype xt_mark xt_tcpudp overlay; do
        modprobe -d "$1/modules" "$name" || echo "no module $name" >&2
    done
}

# make_sides SIDE...: each a network and a group of processes.
make_sides() {
    local side
    for side in "$@"; do
        ip netns add "$side"
        nsenter --net="/run/netns/$side" ip link set lo up
        mkdir -p "/sys/fs/cgroup/$side/daemon"
    done
}

# in_side SIDE COMMAND...: becomes a command in the root, on that side.
in_side() {
    # shellcheck disable=SC2016 # for the shell inside
    exec nsenter --net="/run/netns/$1" sh -c \
        'echo $$ >"/sys/fs/cgroup/$1/daemon/cgroup.procs"; shift; exec chroot /dev/shm/root "$@"' - "$@"
}

# wait_for_socket PROCESS PATH: until that process listens at a path of the root's.
wait_for_socket() {
    while [[ ! -S $root$2 ]]; do
        kill -0 "$1" || return 1
        sleep 0.2
    done
}

# start_registry SIDE: serves $root/images at 127.0.0.1:5000 of that side.
start_registry() {
    registry_config /images 127.0.0.1:5000 >"$root/registry.yml"
    (in_side "$1" docker-registry serve /registry.yml) >"$HULL_TEST_HOST_SHARE/registry-$1.log" 2>&1 &
}

# start_hull: the daemon at /run/hull.sock, its data in /disk/hull. Sets `hull`.
start_hull() {
    (HULL_CACHE=/cache in_side hull hull daemon --socket /run/hull.sock --data-root /disk/hull \
        --registry-mirror http://127.0.0.1:5000) >"$HULL_TEST_HOST_SHARE/hulld.log" 2>&1 &
    hull=$!
    wait_for_socket "$hull" /run/hull.sock
}

# start_docker: dockerd at /run/docker.sock with a containerd of its own, their
# data in /disk. Sets `containerd` and `dockerd`.
start_docker() {
    printf 'version = 2\ndisabled_plugins = [%s]\n' "$(printf '"io.containerd.%s", ' grpc.v1.cri \
        snapshotter.v1.{btrfs,devmapper,zfs,aufs})" >"$root/containerd.toml"
    (in_side docker containerd -c /containerd.toml --root /disk/containerd --state /run/containerd \
        -a /run/containerd.sock) >"$HULL_TEST_HOST_SHARE/containerd.log" 2>&1 &
    containerd=$!
    wait_for_socket "$containerd" /run/containerd.sock
    (in_side docker dockerd --containerd /run/containerd.sock --data-root /disk/docker --exec-root /run/docker \
        -H unix:///run/docker.sock --pidfile /run/docker.pid --cgroup-parent /docker/containers \
        --registry-mirror http://127.0.0.1:5000) >"$HULL_TEST_HOST_SHARE/dockerd.log" 2>&1 &
    dockerd=$!
    wait_for_socket "$dockerd" /run/docker.sock
}
