#include "vmm/machine/machine_files.h"

namespace hull {

namespace {

void append(std::vector<int>& numbers, const virtio::DiskImage& disk) {
    for (const UniqueFd& file : disk.files) {
        numbers.push_back(file.get());
    }
    for (const virtio::DiskLock& lock : disk.locks) {
        numbers.push_back(lock.fd());
    }
    numbers.push_back(disk.layer.get());
}

}  // namespace

std::vector<int> MachineFiles::descriptors() const {
    std::vector<int> numbers{kvm.get(),   kernel.fd.get(),      view.get(),
                             vsock.get(), console_output.get(), console_input.get()};
    for (const InputFile& file : initramfs) {
        numbers.push_back(file.fd.get());
    }
    if (frozen) {
        numbers.push_back(frozen->memory.fd.get());
    }
    for (const virtio::DiskImage& disk : disks) {
        append(numbers, disk);
    }
    for (const auto* servers : {&disk_servers, &net_servers}) {
        for (const ServerFiles& files : *servers) {
            numbers.push_back(files.server.fd());
        }
    }
    for (const virtio::VhostUser& share : shares) {
        numbers.push_back(share.fd());
    }
    for (const NetFiles& net : nets) {
        for (const virtio::NetLink& link : net.links) {
            numbers.insert(numbers.end(), {link.fd.get(), link.vhost.get()});
        }
    }
    for (const PortFiles& port : ports) {
        numbers.insert(numbers.end(), {port.listener.get(), port.input.get(), port.output.get()});
    }
    return numbers;
}

}  // namespace hull
