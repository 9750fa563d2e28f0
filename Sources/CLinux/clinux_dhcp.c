#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clinux_dhcp.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdlib.h>
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

int clinux_dhcp_mtu(const char *interface) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  if (strlen(interface) >= sizeof request.ifr_name) {
    errno = ENODEV;
    return -1;
  }
  strcpy(request.ifr_name, interface);
  int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  int result = ioctl(descriptor, SIOCGIFMTU, &request);
  int error = errno;
  close(descriptor);
  errno = error;
  return result < 0 ? -1 : request.ifr_mtu;
}

void clinux_dhcp_ignore_outgoing(int socket) {
  int yes = 1;
  setsockopt(socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
}

int clinux_dhcp_send_frames(int socket, const uint8_t *bytes, const uint32_t *lengths, unsigned count) {
  enum { at_once = 64 };
  struct mmsghdr messages[at_once];
  struct iovec parts[at_once];
  unsigned sent = 0;
  while (sent < count) {
    unsigned some = count - sent < at_once ? count - sent : at_once;
    const uint8_t *next = bytes;
    for (unsigned index = 0; index < some; index++) {
      parts[index] = (struct iovec){.iov_base = (void *)next, .iov_len = lengths[sent + index]};
      messages[index].msg_hdr = (struct msghdr){.msg_iov = &parts[index], .msg_iovlen = 1};
      next += lengths[sent + index];
    }
    int taken = sendmmsg(socket, messages, some, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken <= 0) break;
    for (int index = 0; index < taken; index++) bytes += parts[index].iov_len;
    sent += (unsigned)taken;
  }
  return (int)sent;
}

struct clinux_dhcp_slot {
  struct sockaddr_in peer;
  struct iovec vector;
  union {
    char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct cmsghdr aligned;
  } control;
};

// What says where a message comes from, and into how long datagrams the kernel cuts it.
union run_control {
  char room[CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
  struct cmsghdr aligned;
};

// Addresses a message, and says where it comes from.
static void address(
    struct msghdr *header, struct clinux_dhcp_slot *slot, uint32_t source, uint32_t destination, uint16_t port) {
  slot->peer = (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(destination)}};
  header->msg_name = &slot->peer;
  header->msg_namelen = sizeof slot->peer;
  memset(&slot->control, 0, sizeof slot->control);
  header->msg_control = slot->control.room;
  header->msg_controllen = sizeof slot->control.room;
  struct cmsghdr *control = CMSG_FIRSTHDR(header);
  control->cmsg_level = IPPROTO_IP;
  control->cmsg_type = IP_PKTINFO;
  control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
  struct in_pktinfo info = {.ipi_spec_dst = {.s_addr = htonl(source)}};
  memcpy(CMSG_DATA(control), &info, sizeof info);
}

int clinux_dhcp_send(
    int socket, const void *bytes, size_t count, uint32_t source, uint32_t destination, uint16_t port) {
  struct clinux_dhcp_slot slot = {.vector = {.iov_base = (void *)bytes, .iov_len = count}};
  struct msghdr message = {.msg_iov = &slot.vector, .msg_iovlen = 1};
  address(&message, &slot, source, destination, port);
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}

struct clinux_dhcp_batch {
  unsigned capacity, count;
  size_t bytes;
  struct mmsghdr *messages;
  struct clinux_dhcp_slot *slots;
  uint8_t *memory;
  // What is really sent: datagrams that go the same way, one behind the other, are one message here.
  struct mmsghdr *runs;
  struct iovec *vectors;
  union run_control *controls;
  // The kernel does not cut messages here: the interface computes no checksums, or its packets are shorter.
  bool uncut;
};

struct clinux_dhcp_batch *clinux_dhcp_batch_make(unsigned capacity, size_t bytes) {
  struct clinux_dhcp_batch *batch = calloc(1, sizeof *batch);
  if (batch == NULL) return NULL;
  batch->capacity = capacity;
  batch->bytes = bytes;
  batch->messages = calloc(capacity, sizeof *batch->messages);
  batch->slots = calloc(capacity, sizeof *batch->slots);
  batch->memory = calloc(capacity, bytes);
  batch->runs = calloc(capacity, sizeof *batch->runs);
  batch->vectors = calloc(capacity, sizeof *batch->vectors);
  batch->controls = calloc(capacity, sizeof *batch->controls);
  if (batch->messages == NULL || batch->slots == NULL || batch->memory == NULL || batch->runs == NULL ||
      batch->vectors == NULL || batch->controls == NULL) {
    clinux_dhcp_batch_free(batch);
    return NULL;
  }
  for (unsigned index = 0; index < capacity; index++) {
    struct clinux_dhcp_slot *slot = &batch->slots[index];
    slot->vector.iov_base = batch->memory + index * bytes;
    struct msghdr *header = &batch->messages[index].msg_hdr;
    header->msg_name = &slot->peer;
    header->msg_control = slot->control.room;
    header->msg_iov = &slot->vector;
    header->msg_iovlen = 1;
  }
  return batch;
}

void clinux_dhcp_batch_free(struct clinux_dhcp_batch *batch) {
  free(batch->messages);
  free(batch->slots);
  free(batch->memory);
  free(batch->runs);
  free(batch->vectors);
  free(batch->controls);
  free(batch);
}

int clinux_dhcp_batch_receive(struct clinux_dhcp_batch *batch, int socket) {
  for (unsigned index = 0; index < batch->capacity; index++) {
    struct clinux_dhcp_slot *slot = &batch->slots[index];
    slot->vector.iov_len = batch->bytes;
    batch->messages[index].msg_hdr.msg_namelen = sizeof slot->peer;
    batch->messages[index].msg_hdr.msg_controllen = sizeof slot->control.room;
  }
  int count = recvmmsg(socket, batch->messages, batch->capacity, MSG_DONTWAIT, NULL);
  if (count < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  return count;
}

const uint8_t *clinux_dhcp_batch_received(
    const struct clinux_dhcp_batch *batch, int index, size_t *count, uint32_t *destination) {
  struct msghdr *header = &batch->messages[index].msg_hdr;
  *count = batch->messages[index].msg_len;
  *destination = 0;
  for (struct cmsghdr *one = CMSG_FIRSTHDR(header); one != NULL; one = CMSG_NXTHDR(header, one)) {
    if (one->cmsg_level != IPPROTO_IP || one->cmsg_type != IP_PKTINFO) continue;
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(one), sizeof info);
    *destination = ntohl(info.ipi_addr.s_addr);
  }
  return batch->slots[index].vector.iov_base;
}

int clinux_dhcp_batch_add(
    struct clinux_dhcp_batch *batch, const void *bytes, size_t count, uint32_t source, uint32_t destination,
    uint16_t port) {
  if (batch->count == batch->capacity || count > batch->bytes) return -1;
  struct clinux_dhcp_slot *slot = &batch->slots[batch->count];
  memcpy(slot->vector.iov_base, bytes, count);
  slot->vector.iov_len = count;
  address(&batch->messages[batch->count].msg_hdr, slot, source, destination, port);
  batch->count++;
  return 0;
}

// A DHCP message that is longer may not fit into a packet, and the kernel cuts no fragments.
static const size_t longest_in_run = 1200;

// How many datagrams from `first` on go the same way and are equally long: the kernel takes them through its layers
// as one, and cuts them where they leave (udp(7), UDP_SEGMENT).
static unsigned run_length(const struct clinux_dhcp_batch *batch, unsigned first) {
  const struct clinux_dhcp_slot *one = &batch->slots[first];
  size_t length = one->vector.iov_len;
  if (batch->uncut || length > longest_in_run) return 1;
  unsigned end = first + 1;
  while (end < batch->count && end - first < 64 && (end - first + 1) * length <= 60000) {
    const struct clinux_dhcp_slot *next = &batch->slots[end];
    if (next->vector.iov_len != length || memcmp(&next->peer, &one->peer, sizeof one->peer) != 0 ||
        memcmp(&next->control, &one->control, sizeof one->control) != 0)
      break;
    end++;
  }
  return end - first;
}

static void make_run(struct clinux_dhcp_batch *batch, unsigned run, unsigned first, unsigned length) {
  struct msghdr *header = &batch->runs[run].msg_hdr;
  *header = batch->messages[first].msg_hdr;
  if (length == 1) return;
  for (unsigned index = first; index < first + length; index++) batch->vectors[index] = batch->slots[index].vector;
  header->msg_iov = &batch->vectors[first];
  header->msg_iovlen = length;
  union run_control *control = &batch->controls[run];
  memset(control, 0, sizeof *control);
  memcpy(control->room, header->msg_control, header->msg_controllen);
  header->msg_control = control->room;
  header->msg_controllen = sizeof control->room;
  struct cmsghdr *segment = CMSG_NXTHDR(header, CMSG_FIRSTHDR(header));
  segment->cmsg_level = IPPROTO_UDP;
  segment->cmsg_type = UDP_SEGMENT;
  segment->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  uint16_t bytes = (uint16_t)batch->vectors[first].iov_len;
  memcpy(CMSG_DATA(segment), &bytes, sizeof bytes);
}

int clinux_dhcp_batch_send(struct clinux_dhcp_batch *batch, int socket, int first) {
  unsigned next = (unsigned)first;
  while (next < batch->count) {
    unsigned runs = 0;
    for (unsigned index = next; index < batch->count; runs++) {
      unsigned length = run_length(batch, index);
      make_run(batch, runs, index, length);
      index += length;
    }
    int sent = sendmmsg(socket, batch->runs, runs, MSG_DONTWAIT | MSG_NOSIGNAL);
    for (int run = 0; run < sent; run++) next += (unsigned)batch->runs[run].msg_hdr.msg_iovlen;
    if (sent > 0) continue;
    bool was_cut = batch->runs[0].msg_hdr.msg_iovlen > 1;
    // The first one was not taken; what comes of it, if at all, is the caller's.
    if (!was_cut || (errno != EINVAL && errno != EIO && errno != EMSGSIZE)) break;
    batch->uncut = true;
  }
  return (int)next - first;
}

void clinux_dhcp_batch_clear(struct clinux_dhcp_batch *batch) {
  batch->count = 0;
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
  // Without the right to more, the kernel bounds it to what the system allows; a smaller one is no error.
  if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer) < 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  if (setsockopt(descriptor, IPPROTO_IP, IP_PKTINFO, &yes, sizeof yes) < 0) goto failed;
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

int clinux_dhcp_leave_to_capture(int socket, uint32_t segment_broadcast) {
  // Of a datagram: its UDP header and what is behind it. The IP header is at SKF_NET_OFF.
  const uint32_t udp_header = 8, giaddr = 24, destination = 16;
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_NET_OFF + destination),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, INADDR_BROADCAST, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, segment_broadcast, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, udp_header + giaddr + 4, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, udp_header + giaddr),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
  return setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
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
