// The structures of virtio-net from Linux's header, one of whose fields has a name that C++ keeps for itself.
#pragma once

#define class class_of_frames
#include <linux/virtio_net.h>
#undef class
