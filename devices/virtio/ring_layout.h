// The layout of a split virtqueue (VIRTIO 1.2, 2.7), by Linux's own header. That holds functions which are
// not C++; they are for legacy devices, and it leaves them out when asked.
#pragma once

#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_ring.h>
