#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clinux_dhcp.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
// After net/if.h, which it then does not define anew.
#include <linux/icmp.h>

int clinux_dhcp_hardware_address(const char *interface, uint8_t address[6]) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  if (strlen(interface) >= sizeof request.ifr_name) {
    errno = ENODEV;
    return -1;
  }
  strcpy(request.ifr_name, interface);
  int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  int result = ioctl(descriptor, SIOCGIFHWADDR, &request);
  int error = errno;
  close(descriptor);
  if (result < 0) {
    errno = error;
    return -1;
  }
  if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) return -2;
  memcpy(address, request.ifr_hwaddr.sa_data, 6);
  return 0;
}

int clinux_dhcp_send(
    int socket, const void *bytes, size_t count, uint32_t source, uint32_t destination, uint16_t port) {
  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(destination)}};
  struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
  union {
    char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct cmsghdr aligned;
  } control;
  memset(&control, 0, sizeof control);
  struct msghdr message = {
      .msg_name = &to,
      .msg_namelen = sizeof to,
      .msg_iov = &vector,
      .msg_iovlen = 1,
      .msg_control = control.room,
      .msg_controllen = sizeof control.room};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_IP;
  header->cmsg_type = IP_PKTINFO;
  header->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
  struct in_pktinfo info = {.ipi_spec_dst = {.s_addr = htonl(source)}};
  memcpy(CMSG_DATA(header), &info, sizeof info);
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int clinux_dhcp_open(
    const char *interface, uint16_t port, int receive_buffer, enum clinux_dhcp_step *step) {
  int yes = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  *step = clinux_dhcp_step_open;
  int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -1;
  *step = clinux_dhcp_step_interface;
  if (setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) < 0) goto failed;
  // The kernel bounds the buffer to what the system allows; a smaller one is no error.
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  *step = clinux_dhcp_step_port;
  if (setsockopt(descriptor, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes) < 0) goto failed;
  if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0) goto failed;
  return descriptor;
failed:;
  int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

int clinux_dhcp_join_all_routers(const char *interface) {
  unsigned index = if_nametoindex(interface);
  if (index == 0) return -1;
  struct ipv6_mreq group = {.ipv6mr_interface = index};
  inet_pton(AF_INET6, "ff02::2", &group.ipv6mr_multiaddr);
  int descriptor = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor >= 0) {
    if (setsockopt(descriptor, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group) == 0) return descriptor;
    close(descriptor);
  }
  // Protocol 0: nothing is ever received on it.
  descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  struct packet_mreq cards = {
      .mr_ifindex = (int)index, .mr_type = PACKET_MR_MULTICAST, .mr_alen = ETH_ALEN,
      .mr_address = {0x33, 0x33, 0, 0, 0, 2}};
  struct packet_mreq nodes = cards;
  nodes.mr_address[5] = 1;
  if (setsockopt(descriptor, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &cards, sizeof cards) == 0 &&
      setsockopt(descriptor, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &nodes, sizeof nodes) == 0)
    return descriptor;
  int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

int clinux_dhcp_link_local_address(const char *interface, uint8_t address[16]) {
  struct ifaddrs *all;
  if (getifaddrs(&all) < 0) return -1;
  int result = -1;
  for (struct ifaddrs *one = all; one != NULL && result != 0; one = one->ifa_next) {
    if (one->ifa_addr == NULL || one->ifa_addr->sa_family != AF_INET6) continue;
    if (strcmp(one->ifa_name, interface) != 0) continue;
    const struct sockaddr_in6 *found = (const struct sockaddr_in6 *)one->ifa_addr;
    if (!IN6_IS_ADDR_LINKLOCAL(&found->sin6_addr)) continue;
    memcpy(address, &found->sin6_addr, 16);
    result = 0;
  }
  freeifaddrs(all);
  return result;
}

int clinux_dhcp_open_echo(uint32_t source) {
  int descriptor = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
  if (descriptor < 0) return -1;
  struct icmp_filter filter = {.data = ~(1U << ICMP_ECHOREPLY)};
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(source)}};
  if (setsockopt(descriptor, SOL_RAW, ICMP_FILTER, &filter, sizeof filter) == 0 &&
      bind(descriptor, (struct sockaddr *)&address, sizeof address) == 0)
    return descriptor;
  int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

int clinux_dhcp_send_echo(int socket, uint32_t destination, uint16_t identifier, uint16_t sequence) {
  struct icmphdr message = {
      .type = ICMP_ECHO, .un = {.echo = {.id = htons(identifier), .sequence = htons(sequence)}}};
  // RFC 1071, over the eight bytes that there are: type and code, identifier, sequence.
  uint32_t sum = (ICMP_ECHO << 8) + identifier + sequence;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  message.checksum = htons((uint16_t)~sum);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(destination)}};
  return sendto(socket, &message, sizeof message, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) < 0 ? -1 : 0;
}

uint32_t clinux_dhcp_receive_echo(int socket, uint16_t identifier) {
  unsigned char packet[128];
  struct sockaddr_in from;
  for (;;) {
    socklen_t length = sizeof from;
    ssize_t count = recvfrom(socket, packet, sizeof packet, MSG_DONTWAIT, (struct sockaddr *)&from, &length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return 0;
    size_t header = (size_t)(packet[0] & 0xf) * 4;
    struct icmphdr message;
    if (header < 20 || (size_t)count < header + sizeof message) continue;
    memcpy(&message, packet + header, sizeof message);
    if (message.type == ICMP_ECHOREPLY && ntohs(message.un.echo.id) == identifier) return ntohl(from.sin_addr.s_addr);
  }
}
