#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clinux_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int clinux_bench_receive(int descriptor, void *buffer, size_t size, uint32_t *counts, int capacity) {
  struct mmsghdr messages[64];
  struct iovec parts[64];
  if (capacity > 64) capacity = 64;
  for (int index = 0; index < capacity; index++) {
    parts[index] = (struct iovec){.iov_base = (char *)buffer + (size_t)index * size, .iov_len = size};
    messages[index].msg_hdr = (struct msghdr){.msg_iov = &parts[index], .msg_iovlen = 1};
  }
  int count = recvmmsg(descriptor, messages, (unsigned)capacity, MSG_DONTWAIT, NULL);
  if (count < 0) return -errno;
  for (int index = 0; index < count; index++) counts[index] = messages[index].msg_len;
  return count;
}

int clinux_bench_connect(int descriptor, uint32_t address, uint16_t port) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
  return connect(descriptor, (struct sockaddr *)&name, sizeof name) < 0 ? -errno : 0;
}

int clinux_bench_frames(const char *interface, int receive_buffer) {
  int yes = 1;
  int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -errno;
  setsockopt(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
  setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer);
  struct sockaddr_ll name = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)if_nametoindex(interface)};
  if (bind(descriptor, (struct sockaddr *)&name, sizeof name) == 0) return descriptor;
  int error = errno;
  close(descriptor);
  return -error;
}

int clinux_bench_wait(int descriptor, int64_t nanoseconds) {
  struct pollfd waited = {.fd = descriptor, .events = POLLIN};
  struct timespec time = {.tv_nsec = nanoseconds};
  return ppoll(&waited, 1, &time, NULL);
}

static uint16_t checksum(const uint8_t *header) {
  uint32_t sum = 0;
  for (int index = 0; index < 20; index += 2) sum += (uint32_t)header[index] << 8 | header[index + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}

int clinux_bench_dhcp_floor(const char *interface, uint32_t server) {
  // Bound, so that the kernel has no ICMP message to send; what waits there is nobody's.
  int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), small = 0;
  struct sockaddr_in port = {.sin_family = AF_INET, .sin_port = htons(67)};
  setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  if (bind(udp, (struct sockaddr *)&port, sizeof port) < 0) return -errno;
  int frames = clinux_bench_frames(interface, 8 << 20);
  if (frames < 0) return frames;
  server = htonl(server);
  for (;;) {
    uint8_t frame[2048], card[6];
    ssize_t count = recv(frames, frame, sizeof frame, 0);
    if (count < 0 && errno != EINTR) return -errno;
    uint8_t *ip = frame + 14, *datagram = ip + 20, *message = datagram + 8, *options = message + 240;
    // A whole BOOTREQUEST to port 67 whose first option is its type.
    if (count < 42 + 244 || ip[0] != 0x45 || ip[9] != 17 || datagram[2] != 0 || datagram[3] != 67) continue;
    if (message[0] != 1 || options[0] != 53) continue;
    uint8_t address[4] = {10, 1, message[32], message[33]};
    int is_relayed = message[24] != 0;
    memcpy(card, is_relayed ? frame + 6 : message + 28, 6);
    memcpy(frame, card, 6);
    memcpy(message + 16, address, 4);
    memcpy(ip + 16, is_relayed ? message + 24 : address, 4);
    memcpy(ip + 12, &server, 4);
    memcpy(datagram, (uint8_t[]){0, 67, 0, is_relayed ? 67 : 68}, 4);
    message[0] = 2;
    options[2] = options[2] == 1 ? 2 : 5;
    memcpy(options + 3, (uint8_t[]){54, 4, 0, 0, 0, 0, 51, 4, 0, 0, 14, 16, 1, 4, 255, 0, 0, 0, 255}, 19);
    memcpy(options + 5, &server, 4);
    memset(options + 22, 0, 38);
    uint16_t length = htons(8 + 300), total = htons(20 + 8 + 300);
    memcpy(datagram + 4, &length, 2);
    memset(datagram + 6, 0, 2);
    memcpy(ip + 2, &total, 2);
    memset(ip + 10, 0, 2);
    uint16_t sum = checksum(ip);
    memcpy(ip + 10, &sum, 2);
    send(frames, frame, 42 + 300, MSG_DONTWAIT);
  }
}
