#ifndef CLINUX_BENCH_H
#define CLINUX_BENCH_H
#include <stddef.h>
#include <stdint.h>

// What the benchmark's own client needs; nothing that is served uses it.

// Receives what datagrams there are, without waiting: `capacity` (64 at most), each into its `size` bytes of `buffer`.
// struct mmsghdr is hidden from Swift behind _GNU_SOURCE. Puts the bytes of each into `counts`, and the port (host
// order) that the first came from into *port. Returns how many, or -errno.
int clinux_bench_receive(int descriptor, void *buffer, size_t size, uint32_t *counts, int capacity, uint16_t *port);

// Connects a UDP socket to an address and port (host order). Returns 0, or -errno.
int clinux_bench_connect(int descriptor, uint32_t address, uint16_t port);

#endif
