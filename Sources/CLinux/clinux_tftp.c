#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clinux_tftp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

_Static_assert(sizeof(struct clinux_tftp_part) == sizeof(struct iovec) &&
                   offsetof(struct clinux_tftp_part, start) == offsetof(struct iovec, iov_base) &&
                   offsetof(struct clinux_tftp_part, count) == offsetof(struct iovec, iov_len),
               "clinux_tftp_part is passed where the kernel reads an iovec");

int clinux_tftp_socket(uint32_t address, uint16_t port, int packet_info) {
  int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -errno;
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
  if ((packet_info && setsockopt(descriptor, IPPROTO_IP, IP_PKTINFO, &(int){1}, sizeof(int)) < 0) ||
      bind(descriptor, (struct sockaddr *)&name, sizeof name) < 0) {
    int error = errno;
    close(descriptor);
    return -error;
  }
  return descriptor;
}

void clinux_tftp_receive_buffer(int descriptor, int bytes) {
  if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

int clinux_tftp_port(int descriptor) {
  struct sockaddr_in name = {0};
  socklen_t length = sizeof name;
  if (getsockname(descriptor, (struct sockaddr *)&name, &length) < 0) return -errno;
  return ntohs(name.sin_port);
}

int64_t clinux_tftp_receive(int descriptor, void *buffer, size_t capacity, struct clinux_tftp_addresses *addresses) {
  struct sockaddr_in peer = {0};
  struct iovec part = {.iov_base = buffer, .iov_len = capacity};
  union {
    char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct cmsghdr align;
  } control;
  struct msghdr message = {.msg_name = &peer,
                           .msg_namelen = sizeof peer,
                           .msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  ssize_t count = recvmsg(descriptor, &message, MSG_DONTWAIT);
  if (count < 0) return -errno;
  addresses->peer_address = ntohl(peer.sin_addr.s_addr);
  addresses->peer_port = ntohs(peer.sin_port);
  addresses->local_address = 0;
  for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item != NULL; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(item), sizeof info);
      // ipi_spec_dst, not ipi_addr: for a broadcast it is the address to answer from.
      addresses->local_address = ntohl(info.ipi_spec_dst.s_addr);
    }
  }
  return message.msg_flags & MSG_TRUNC ? (int64_t)capacity + 1 : count;
}

int64_t clinux_tftp_send(int descriptor, const struct clinux_tftp_part *parts, size_t count, uint16_t segment,
                         const struct clinux_tftp_addresses *addresses) {
  struct sockaddr_in peer = {.sin_family = AF_INET,
                             .sin_port = htons(addresses->peer_port),
                             .sin_addr.s_addr = htonl(addresses->peer_address)};
  union {
    char bytes[CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
    struct cmsghdr align;
  } control;
  struct msghdr message = {.msg_name = &peer,
                           .msg_namelen = sizeof peer,
                           .msg_iov = (struct iovec *)(uintptr_t)parts,
                           .msg_iovlen = count};
  if (segment != 0 || addresses->local_address != 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    size_t used = 0;
    struct cmsghdr *item = CMSG_FIRSTHDR(&message);
    if (segment != 0) {
      item->cmsg_level = IPPROTO_UDP;
      item->cmsg_type = UDP_SEGMENT;
      item->cmsg_len = CMSG_LEN(sizeof segment);
      memcpy(CMSG_DATA(item), &segment, sizeof segment);
      used += CMSG_SPACE(sizeof segment);
      item = CMSG_NXTHDR(&message, item);
    }
    if (addresses->local_address != 0 && item != NULL) {
      struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(addresses->local_address)};
      item->cmsg_level = IPPROTO_IP;
      item->cmsg_type = IP_PKTINFO;
      item->cmsg_len = CMSG_LEN(sizeof info);
      memcpy(CMSG_DATA(item), &info, sizeof info);
      used += CMSG_SPACE(sizeof info);
    }
    message.msg_controllen = used;
  }
  ssize_t sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

uint64_t clinux_tftp_reserve_descriptors(uint64_t wanted) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 256;
  if (limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
    struct rlimit raised = limit;
    raised.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return limit.rlim_cur;
}

int clinux_tftp_eventfd(void) {
  int descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return descriptor < 0 ? -errno : descriptor;
}

int clinux_tftp_epoll_create(void) {
  int descriptor = epoll_create1(EPOLL_CLOEXEC);
  return descriptor < 0 ? -errno : descriptor;
}

int clinux_tftp_epoll_add(int epoll, int descriptor, uint64_t token) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = token};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0 ? -errno : 0;
}

int clinux_tftp_epoll_wait(int epoll, uint64_t *tokens, int capacity, int timeout_ms) {
  struct epoll_event events[256];
  if (capacity > 256) capacity = 256;
  int count = epoll_wait(epoll, events, capacity, timeout_ms);
  if (count < 0) return errno == EINTR ? 0 : -errno;
  for (int index = 0; index < count; index++) tokens[index] = events[index].data.u64;
  return count;
}

int clinux_tftp_timer(void) {
  int descriptor = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  return descriptor < 0 ? -errno : descriptor;
}

void clinux_tftp_timer_set(int descriptor, int64_t time_ns) {
  // A time of 0 would stop it.
  if (time_ns < 1) time_ns = 1;
  struct itimerspec time = {.it_value = {.tv_sec = time_ns / 1000000000, .tv_nsec = time_ns % 1000000000}};
  timerfd_settime(descriptor, TFD_TIMER_ABSTIME, &time, NULL);
}

const void *clinux_tftp_map(const char *path, size_t size, int *error) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    *error = errno;
    return NULL;
  }
  struct stat status;
  if (fstat(descriptor, &status) < 0) {
    *error = errno;
    close(descriptor);
    return NULL;
  }
  if (!S_ISREG(status.st_mode) || status.st_size < 0 || (uint64_t)status.st_size != size) {
    *error = 0;
    close(descriptor);
    return NULL;
  }
  void *address = mmap(NULL, size, PROT_READ, MAP_SHARED, descriptor, 0);
  *error = errno;
  close(descriptor);
  if (address == MAP_FAILED) return NULL;
  // Ask for the whole of it from the disk now, so that a transfer does not wait for each page.
  madvise(address, size, MADV_WILLNEED);
  return address;
}

int clinux_tftp_file_status(int descriptor, struct clinux_tftp_file *file) {
  struct stat status;
  if (fstat(descriptor, &status) < 0) return -errno;
  if (!S_ISREG(status.st_mode)) return -EINVAL;
  *file = (struct clinux_tftp_file){.device = status.st_dev,
                                    .inode = status.st_ino,
                                    .size = status.st_size,
                                    .modified = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec};
  return 0;
}
