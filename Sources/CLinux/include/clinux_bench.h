#ifndef CLINUX_BENCH_H
#define CLINUX_BENCH_H
#include <stddef.h>
#include <stdint.h>

// What the benchmark's own client needs; nothing that is served uses it.

// Receives what datagrams there are, without waiting: `capacity` (64 at most), each into its `size` bytes of `buffer`.
// struct mmsghdr is hidden from Swift behind _GNU_SOURCE. Puts the bytes of each into `counts`. Returns how many, or
// -errno.
int clinux_bench_receive(int descriptor, void *buffer, size_t size, uint32_t *counts, int capacity);

// Connects a UDP socket to an address and port (host order). Returns 0, or -errno.
int clinux_bench_connect(int descriptor, uint32_t address, uint16_t port);

// A socket for the IPv4 frames of one interface, but those it sends itself; `receive_buffer` bytes may wait.
// A shim since Swift lets no one use the members of struct sockaddr_ll. Returns the descriptor, or -errno.
int clinux_bench_frames(const char *interface, int receive_buffer);

// Waits until there is something to read, `nanoseconds` (less than a second) at most: ppoll is hidden from Swift behind
// _GNU_SOURCE. Returns 0 where there is nothing.
int clinux_bench_wait(int descriptor, int64_t nanoseconds);

// The floor under DHCP servers: answers every DISCOVER with an OFFER and every REQUEST with an ACK as
// `server` (host order), from 10.1.0.0/16 by the last bytes of the client's hardware address, without
// any state. In C, so that there is nothing in it but the system's own cost. Never returns but with -errno.
int clinux_bench_dhcp_floor(const char *interface, uint32_t server);

#endif
