#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clinux_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

int clinux_bench_receive(int descriptor, void *buffer, size_t size, uint32_t *counts, int capacity, uint16_t *port) {
  struct mmsghdr messages[64] = {0};
  struct iovec parts[64];
  struct sockaddr_in peer = {0};
  if (capacity > 64) capacity = 64;
  for (int index = 0; index < capacity; index++) {
    parts[index] = (struct iovec){.iov_base = (char *)buffer + (size_t)index * size, .iov_len = size};
    messages[index].msg_hdr.msg_iov = &parts[index];
    messages[index].msg_hdr.msg_iovlen = 1;
  }
  messages[0].msg_hdr.msg_name = &peer;
  messages[0].msg_hdr.msg_namelen = sizeof peer;
  int count = recvmmsg(descriptor, messages, (unsigned)capacity, MSG_DONTWAIT, NULL);
  if (count < 0) return -errno;
  for (int index = 0; index < count; index++) counts[index] = messages[index].msg_len;
  *port = ntohs(peer.sin_port);
  return count;
}

int clinux_bench_connect(int descriptor, uint32_t address, uint16_t port) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
  return connect(descriptor, (struct sockaddr *)&name, sizeof name) < 0 ? -errno : 0;
}
