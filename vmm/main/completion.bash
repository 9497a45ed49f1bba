# bash completion for hull
_hull() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W 'boot serve restore ctl snapshot sandbox check run build pull images rmi daemon --help --version' -- "$word")
        return
    fi
    case $before in
        --kernel | --initramfs | --file | --env-file | --api-socket | --disk | --config | --in | --out | --image)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return ;;
        --platform) mapfile -t COMPREPLY < <(compgen -W 'acpi fdt' -- "$word"); return ;;
        --jail) mapfile -t COMPREPLY < <(compgen -W 'on strict off' -- "$word"); return ;;
        --jail-without) mapfile -t COMPREPLY < <(compgen -W 'namespaces user landlock seccomp' -- "$word"); return ;;
        --data-root)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return ;;
        --group) mapfile -t COMPREPLY < <(compgen -g -- "$word"); return ;;
        --jail-user) mapfile -t COMPREPLY < <(compgen -u -- "$word"); return ;;
        --bus) mapfile -t COMPREPLY < <(compgen -W 'pci mmio' -- "$word"); return ;;
        --share) mapfile -t COMPREPLY < <(compgen -W 'tag=' -- "$word"); compopt -o nospace; return ;;
        --net)
            compopt -o nospace
            if [[ ${COMP_WORDS[1]} == sandbox || ${COMP_WORDS[1]} == run ]]; then
                mapfile -t COMPREPLY < <(compgen -W 'none user' -- "$word")
            else
                mapfile -t COMPREPLY < <(compgen -W 'user tap= socket=' -- "$word")
            fi
            return ;;
        --network) mapfile -t COMPREPLY < <(compgen -W 'none user' -- "$word"); return ;;
        --security-opt) mapfile -t COMPREPLY < <(compgen -W 'no-new-privileges' -- "$word"); return ;;
        --console) mapfile -t COMPREPLY < <(compgen -W 'stdio none file: virtio virtio:file:' -- "$word"); return ;;
        --cmdline | --cmdline-raw | --cpus | --memory | --vsock | --port | --cpu-quota | --memory-limit | --pids-limit | --io-limit | --stop-timeout | --timeout | --out-limit | --allow | --insecure-registry | --registry-mirror | --env | --workdir | --user | --entrypoint | --name | --hostname | --shm-size | --publish | --add-host | --tmpfs | --ulimit | --cap-add | --cap-drop | --tag | --build-arg | --target | --label) return ;;
    esac
    case ${COMP_WORDS[1]} in
        boot)
            mapfile -t COMPREPLY < <(compgen -W '--kernel --initramfs --cmdline --cmdline-raw --cpus --memory
                --platform --bus --hugepages --disk --net --share --vsock --rng --console --port --cpu-quota --memory-limit --pids-limit --io-limit --stop-timeout --jail --jail-without --jail-user --api-socket --config --timing --dry-run --help' -- "$word") ;;
        serve) mapfile -t COMPREPLY < <(compgen -W '--api-socket --console --bus --stop-timeout --jail --jail-without --jail-user --timing --help' -- "$word") ;;
        restore) mapfile -t COMPREPLY < <(compgen -d -W '--api-socket --console --stop-timeout --jail --jail-without --jail-user --timing --help' -- "$word") ;;
        ctl)
            if ((COMP_CWORD == 2)); then
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
            elif ((COMP_CWORD == 3)); then
                mapfile -t COMPREPLY < <(compgen -W 'pause resume snapshot stop status config' -- "$word")
            else
                mapfile -t COMPREPLY < <(compgen -d -- "$word")
            fi ;;
        snapshot)
            if ((COMP_CWORD == 2)); then
                mapfile -t COMPREPLY < <(compgen -W 'verify --help' -- "$word")
            else
                mapfile -t COMPREPLY < <(compgen -d -- "$word")
            fi ;;
        sandbox)
            mapfile -t COMPREPLY < <(compgen -W '--image --in --out --out-limit --net --allow --timeout --cpus --memory --tty --kernel
                --initramfs --jail --jail-without --jail-user --help --' -- "$word") ;;
        run)
            mapfile -t COMPREPLY < <(compgen -W '--interactive --tty --env --env-file --workdir --user --entrypoint --name --hostname
                --init --rm --memory --cpus --pids-limit --shm-size --network --net --publish --add-host --read-only --tmpfs --ulimit
                --cap-add --cap-drop --security-opt --kernel --initramfs --jail --jail-without --jail-user --data-root
                --insecure-registry --registry-mirror --help' -- "$word") ;;
        build)
            mapfile -t COMPREPLY < <(compgen -d -W '--tag --file --build-arg --target --label --no-cache --pull --network --add-host --memory
                --quiet --kernel --initramfs --data-root --insecure-registry --registry-mirror --help' -- "$word") ;;
        pull) mapfile -t COMPREPLY < <(compgen -W '--data-root --insecure-registry --registry-mirror --quiet --help' -- "$word") ;;
        images) mapfile -t COMPREPLY < <(compgen -W '--data-root --quiet --help' -- "$word") ;;
        rmi) mapfile -t COMPREPLY < <(compgen -W '--data-root --force --help' -- "$word") ;;
        daemon) mapfile -t COMPREPLY < <(compgen -W '--socket --group --config --rootless --no-bridge --data-root --insecure-registry --registry-mirror --help' -- "$word") ;;
        check) mapfile -t COMPREPLY < <(compgen -W '--quiet --help' -- "$word") ;;
    esac
}
complete -F _hull hull
