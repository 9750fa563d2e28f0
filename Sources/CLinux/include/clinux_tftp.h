// UDP for the TFTP server: control messages (CMSG_* are macros that compute), several datagrams in
// one system call, and the segmentation of one large buffer into datagrams by the kernel.
#ifndef CLINUX_TFTP_H
#define CLINUX_TFTP_H
// No system header but these: with _GNU_SOURCE others would define types that Swift already has otherwise.
#include <stddef.h>
#include <stdint.h>

// A datagram's addresses, all in host order. Where a connected socket sends, its peer's are 0.
struct clinux_tftp_addresses {
  uint32_t peer_address;
  uint16_t peer_port;
  // The address of this machine that it was sent to, or is to be sent from; 0 leaves it to the kernel.
  uint32_t local_address;
};

// A non-blocking UDP socket bound to address and port (host order; port 0: any). Each datagram read
// from it tells which local address it was sent to where `packet_info` is not 0.
// Returns the descriptor, or -errno.
int clinux_tftp_socket(uint32_t address, uint16_t port, int packet_info);

// Lets up to `bytes` wait for this socket: more than the system's limit where we may (SO_RCVBUFFORCE), else up to it.
// (The options' level is an enumeration in some C libraries and a macro in others.)
void clinux_tftp_receive_buffer(int descriptor, int bytes);

// The same for what this socket sends.
void clinux_tftp_send_buffer(int descriptor, int bytes);

// A second non-blocking UDP socket at the address and port of `descriptor`, connected to a peer (host order): what
// comes from the peer goes to it, everything else still to `descriptor`. Nobody else can join them there.
// Returns the new descriptor, or -errno.
int clinux_tftp_connected(int descriptor, uint32_t address, uint16_t port);

// The port the socket is bound to (host order), or -errno.
int clinux_tftp_port(int descriptor);

// Bytes in memory: laid out as struct iovec is.
struct clinux_tftp_part {
  const void *start;
  size_t count;
};

// Room for the datagrams that one system call receives.
struct clinux_tftp_batch {
  // Of each datagram. One that is longer than its slot counts the slot's size + 1.
  uint32_t *counts;
  struct clinux_tftp_addresses *addresses;
  // Slots of `slot_size` bytes each.
  uint8_t *bytes;
};

// NULL where there is no memory.
struct clinux_tftp_batch *clinux_tftp_batch_create(int slots, size_t slot_size);
void clinux_tftp_batch_free(struct clinux_tftp_batch *batch);

// Receives up to `limit` datagrams (at most as many as there are slots), without waiting.
// Returns how many, or -errno (-EAGAIN where there is none).
int clinux_tftp_batch_receive(struct clinux_tftp_batch *batch, int descriptor, int limit);

// Receives one datagram of a connected socket into the first slot, without its addresses, and without waiting.
// Returns 1, or -errno.
int clinux_tftp_batch_receive_connected(struct clinux_tftp_batch *batch, int descriptor);

// Sends what `parts` point to, in one system call. `segment` 0: one datagram. Otherwise the kernel cuts it
// into datagrams of `segment` bytes, the last possibly shorter (UDP_SEGMENT). Returns bytes or -errno.
int64_t clinux_tftp_send(int descriptor, const struct clinux_tftp_part *parts, size_t count, uint16_t segment,
                         const struct clinux_tftp_addresses *addresses);

// One datagram of several.
struct clinux_tftp_datagram {
  const struct clinux_tftp_part *parts;
  size_t count;
  struct clinux_tftp_addresses addresses;
};

// The most that one call sends.
#define CLINUX_TFTP_DATAGRAMS 64

// Sends up to CLINUX_TFTP_DATAGRAMS datagrams, in one system call where the kernel takes all of them. One that it
// does not take keeps none of the others back: it counts as lost.
void clinux_tftp_send_all(int descriptor, const struct clinux_tftp_datagram *datagrams, int count);

// How many descriptors this process may open, after raising its own limit to `wanted` as far as its
// hard limit allows (getrlimit takes an enum that Swift imports differently from C library to C library).
uint64_t clinux_tftp_reserve_descriptors(uint64_t wanted);

// A non-blocking eventfd (its flags are an enumeration that is also macros). The descriptor, or -errno.
int clinux_tftp_eventfd(void);

// epoll_event is packed on some machines and its data is a union: plain numbers instead.
int clinux_tftp_epoll_create(void);
int clinux_tftp_epoll_add(int epoll, int descriptor, uint64_t token);
// Waits at most `timeout_ms` milliseconds (negative: without end). Returns the count of `tokens` filled, or -errno.
int clinux_tftp_epoll_wait(int epoll, uint64_t *tokens, int capacity, int timeout_ms);

// A non-blocking timerfd of the monotonic clock (its flags are an enumeration that is also macros), or -errno.
// It becomes readable once the time comes, in nanoseconds of that clock, that it was set to last.
int clinux_tftp_timer(void);
void clinux_tftp_timer_set(int descriptor, int64_t time_ns);

// Maps a whole file read-only. Returns NULL and leaves the error in *error where it cannot, or where
// the file has not exactly `size` bytes (*error is then 0). `size` is 1 or more.
const void *clinux_tftp_map(const char *path, size_t size, int *error);

// What tells one state of a file from another; the time in nanoseconds.
struct clinux_tftp_file {
  uint64_t device, inode;
  int64_t size, modified;
};

// Fills in *file for a regular file (S_ISREG is a macro, and so is the time's name). Returns 0, or -errno,
// -EINVAL for anything but a regular file.
int clinux_tftp_file_status(int descriptor, struct clinux_tftp_file *file);

#endif
