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

// Opens a UDP socket bound to an interface and, on every address of it, to a port (host order);
// broadcast allowed, non-blocking, closed on exec. A shim since Swift sees struct sockaddr_in in
// several modules at once and lets none of them use its members.
// Returns the descriptor; or -1 with errno set, and in step what failed.
enum clinux_dhcp_step { clinux_dhcp_step_open, clinux_dhcp_step_interface, clinux_dhcp_step_port };
int clinux_dhcp_open(
    const char *interface, uint16_t port, int receive_buffer, enum clinux_dhcp_step *step);

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
