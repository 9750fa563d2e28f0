// What the DHCP server and client need of the kernel and Swift cannot say by itself.
#ifndef CLINUX_DHCP_H
#define CLINUX_DHCP_H
#include <stddef.h>
#include <stdint.h>

// The Ethernet address of an interface. A shim since ioctl is variadic.
// Returns 0; -1 with errno set; -2 where the interface is not Ethernet.
int clinux_dhcp_hardware_address(const char *interface, uint8_t address[6]);

// Sends a datagram with a source address of its own choosing, for a socket bound to every address.
// A shim since the CMSG macros compute. All addresses and ports are in host order.
// Never waits. Returns 0, or -1 with errno set.
int clinux_dhcp_send(
    int socket, const void *bytes, size_t count, uint32_t source, uint32_t destination, uint16_t port);

// The longest packet of an interface behind its Ethernet header, in bytes. A shim since ioctl is variadic.
// Returns -1 with errno set.
int clinux_dhcp_mtu(const char *interface);

// Lets a packet socket take nothing that this machine sends itself: else the kernel makes a copy of
// each such packet for it. The option is of no use to a system that does not know it.
void clinux_dhcp_ignore_outgoing(int socket);

// Sends whole frames, which lie one behind the other, through a packet socket that is bound to an interface; never waits.
// A shim since sendmmsg is GNU's. Returns how many it took: all, or those in front of one that the kernel does not take.
int clinux_dhcp_send_frames(int socket, const uint8_t *bytes, const uint32_t *lengths, unsigned count);

// Datagrams that are received or sent by one system call, each with memory of its own. A shim since
// recvmmsg and sendmmsg are GNU's, and the CMSG macros compute. All addresses and ports are in host
// order. For one thread at a time.
struct clinux_dhcp_batch;
// Room for `capacity` datagrams of `bytes` bytes each. NULL where there is no memory.
struct clinux_dhcp_batch *clinux_dhcp_batch_make(unsigned capacity, size_t bytes);
void clinux_dhcp_batch_free(struct clinux_dhcp_batch *batch);
// Fills the batch with what waits, and never waits itself. A longer datagram is cut.
// Returns how many came, 0 for none; or -1 with errno set.
int clinux_dhcp_batch_receive(struct clinux_dhcp_batch *batch, int socket);
// A datagram that came: its bytes until the batch is used again, their count, and the address it was sent to.
const uint8_t *clinux_dhcp_batch_received(
    const struct clinux_dhcp_batch *batch, int index, size_t *count, uint32_t *destination);
// Puts a datagram behind those in the batch. 0, or -1 where the batch is full or has no room for so long a one.
int clinux_dhcp_batch_add(
    struct clinux_dhcp_batch *batch, const void *bytes, size_t count, uint32_t source, uint32_t destination,
    uint16_t port);
// Sends the datagrams of the batch from number `first` on, up to the end or one that the kernel does not take,
// and never waits. Returns how many it took.
int clinux_dhcp_batch_send(struct clinux_dhcp_batch *batch, int socket, int first);
// Takes all datagrams out.
void clinux_dhcp_batch_clear(struct clinux_dhcp_batch *batch);

// Opens a UDP socket bound to an interface and, on every address of it, to a port (host order);
// broadcast allowed, non-blocking, closed on exec, and each datagram tells where it was sent to.
// `receive_buffer` bytes may wait, where we may have so many (SO_RCVBUFFORCE), else as many as the system allows.
// A shim since Swift sees struct sockaddr_in in
// several modules at once and lets none of them use its members.
// Returns the descriptor; or -1 with errno set, and in step what failed.
enum clinux_dhcp_step { clinux_dhcp_step_open, clinux_dhcp_step_interface, clinux_dhcp_step_port };
int clinux_dhcp_open(
    const char *interface, uint16_t port, int receive_buffer, enum clinux_dhcp_step *step);

// Keeps from the socket what a capture takes: BOOTP messages to everyone on the segment without a relay agent (giaddr
// is zero). Broadcasts too short to have a giaddr come. `segment_broadcast` is in host order.
// A shim since the program is made by macros. Returns 0, or -1 with errno set.
int clinux_dhcp_leave_to_capture(int socket, uint32_t segment_broadcast);

// Joins the group of IPv6 routers, ff02::2, on an interface: its card then takes frames to that group,
// and switches that snoop pass them on. Where the interface has no IPv6, the card alone is told.
// A shim for the structures, as above. Returns a descriptor that keeps the membership while it is
// open, or -1 with errno set.
int clinux_dhcp_join_all_routers(const char *interface);

// The IPv6 link-local address of an interface. A shim for the structures, as above. 0, or -1 for none.
int clinux_dhcp_link_local_address(const char *interface, uint8_t address[16]);

// ICMP echo from an address of this machine's (host order). A shim for the structures, as above.
// Opens a socket that receives echo replies alone; non-blocking, closed on exec.
// Returns the descriptor, or -1 with errno set.
int clinux_dhcp_open_echo(uint32_t source);
// Asks an address. Returns 0, or -1 with errno set.
int clinux_dhcp_send_echo(int socket, uint32_t destination, uint16_t identifier, uint16_t sequence);
// Takes the next reply with this identifier. Returns who sent it; 0 where there is none.
uint32_t clinux_dhcp_receive_echo(int socket, uint16_t identifier);
#endif
