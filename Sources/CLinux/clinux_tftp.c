#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clinux_tftp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
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

void clinux_tftp_send_buffer(int descriptor, int bytes) {
  if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

int clinux_tftp_connected(int descriptor, uint32_t address, uint16_t port) {
  struct sockaddr_in own = {0};
  socklen_t length = sizeof own;
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
  if (getsockname(descriptor, (struct sockaddr *)&own, &length) < 0) return -errno;
  int second = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (second < 0) return -errno;
  // For a moment another socket may be bound to the port: SO_REUSEPORT lets only one of the same user do that, which
  // SO_REUSEADDR would grant to any program of this machine. From then on the port is closed to all.
  int error = 0;
  if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)) < 0 ||
      setsockopt(second, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)) < 0 ||
      bind(second, (struct sockaddr *)&own, sizeof own) < 0 ||
      connect(second, (struct sockaddr *)&peer, sizeof peer) < 0)
    error = errno;
  if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &(int){0}, sizeof(int)) < 0 && error == 0) error = errno;
  if (setsockopt(second, SOL_SOCKET, SO_REUSEPORT, &(int){0}, sizeof(int)) < 0 && error == 0) error = errno;
  if (error == 0) {
    // From here on strangers' packets go to the port. Those that came between the two calls are here.
    char byte;
    while (recv(second, &byte, 1, MSG_DONTWAIT) >= 0 || errno == EINTR) {}
    return second;
  }
  close(second);
  return -error;
}

int clinux_tftp_port(int descriptor) {
  struct sockaddr_in name = {0};
  socklen_t length = sizeof name;
  if (getsockname(descriptor, (struct sockaddr *)&name, &length) < 0) return -errno;
  return ntohs(name.sin_port);
}

union packet_info {
  char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
  struct cmsghdr align;
};

// What the kernel reads and writes for one datagram of a batch.
struct slot {
  struct sockaddr_in peer;
  struct iovec part;
  union packet_info control;
};

struct batch {
  struct clinux_tftp_batch face;
  int slots;
  size_t slot_size;
  struct mmsghdr *messages;
  struct slot *slot;
};

struct clinux_tftp_batch *clinux_tftp_batch_create(int slots, size_t slot_size) {
  struct batch *batch = calloc(1, sizeof *batch);
  if (batch == NULL || slots < 1) return free(batch), NULL;
  batch->slots = slots;
  batch->slot_size = slot_size;
  batch->face.counts = calloc((size_t)slots, sizeof *batch->face.counts);
  batch->face.addresses = calloc((size_t)slots, sizeof *batch->face.addresses);
  batch->face.bytes = calloc((size_t)slots, slot_size);
  batch->messages = calloc((size_t)slots, sizeof *batch->messages);
  batch->slot = calloc((size_t)slots, sizeof *batch->slot);
  if (batch->face.counts == NULL || batch->face.addresses == NULL || batch->face.bytes == NULL ||
      batch->messages == NULL || batch->slot == NULL) {
    clinux_tftp_batch_free(&batch->face);
    return NULL;
  }
  for (int index = 0; index < slots; index++) {
    struct slot *slot = &batch->slot[index];
    slot->part = (struct iovec){.iov_base = batch->face.bytes + (size_t)index * slot_size, .iov_len = slot_size};
    batch->messages[index].msg_hdr = (struct msghdr){.msg_name = &slot->peer,
                                                     .msg_namelen = sizeof slot->peer,
                                                     .msg_iov = &slot->part,
                                                     .msg_iovlen = 1,
                                                     .msg_control = &slot->control,
                                                     .msg_controllen = sizeof slot->control};
  }
  return &batch->face;
}

void clinux_tftp_batch_free(struct clinux_tftp_batch *face) {
  struct batch *batch = (struct batch *)face;
  if (batch == NULL) return;
  free(face->counts);
  free(face->addresses);
  free(face->bytes);
  free(batch->messages);
  free(batch->slot);
  free(batch);
}

int clinux_tftp_batch_receive(struct clinux_tftp_batch *face, int descriptor, int limit) {
  struct batch *batch = (struct batch *)face;
  int received;
  if (limit > batch->slots) limit = batch->slots;
  if (limit <= 1) {
    // One alone costs less this way.
    ssize_t count = recvmsg(descriptor, &batch->messages[0].msg_hdr, MSG_DONTWAIT);
    batch->messages[0].msg_len = count < 0 ? 0 : (unsigned)count;
    received = count < 0 ? -1 : 1;
  } else {
    received = recvmmsg(descriptor, batch->messages, (unsigned)limit, MSG_DONTWAIT, NULL);
  }
  if (received < 0) return -errno;
  for (int index = 0; index < received; index++) {
    struct msghdr *message = &batch->messages[index].msg_hdr;
    struct clinux_tftp_addresses *addresses = &face->addresses[index];
    face->counts[index] =
        message->msg_flags & MSG_TRUNC ? (uint32_t)batch->slot_size + 1 : batch->messages[index].msg_len;
    addresses->peer_address = ntohl(batch->slot[index].peer.sin_addr.s_addr);
    addresses->peer_port = ntohs(batch->slot[index].peer.sin_port);
    addresses->local_address = 0;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(message); item != NULL; item = CMSG_NXTHDR(message, item)) {
      if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(item), sizeof info);
        // ipi_spec_dst, not ipi_addr: for a broadcast it is the address to answer from.
        addresses->local_address = ntohl(info.ipi_spec_dst.s_addr);
      }
    }
    // The kernel has written here what it used of each.
    message->msg_namelen = sizeof batch->slot[index].peer;
    message->msg_controllen = sizeof batch->slot[index].control;
  }
  return received;
}

int clinux_tftp_batch_receive_connected(struct clinux_tftp_batch *face, int descriptor) {
  struct batch *batch = (struct batch *)face;
  // MSG_TRUNC: the datagram's own length.
  ssize_t count = recv(descriptor, face->bytes, batch->slot_size, MSG_DONTWAIT | MSG_TRUNC);
  if (count < 0) return -errno;
  face->counts[0] = (size_t)count > batch->slot_size ? (uint32_t)batch->slot_size + 1 : (uint32_t)count;
  return 1;
}

// Room for a message's control data.
union control {
  char bytes[CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
  struct cmsghdr align;
};

// Fills in what a message of `parts` to these addresses is; `peer` and `control` are to live as long as it.
static void address_message(struct msghdr *message, const struct clinux_tftp_part *parts, size_t count,
                            uint16_t segment, const struct clinux_tftp_addresses *addresses, struct sockaddr_in *peer,
                            union control *control) {
  *message = (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = count};
  if (addresses->peer_port != 0) {
    *peer = (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons(addresses->peer_port),
                                 .sin_addr.s_addr = htonl(addresses->peer_address)};
    message->msg_name = peer;
    message->msg_namelen = sizeof *peer;
  }
  if (segment == 0 && addresses->local_address == 0) return;
  memset(control, 0, sizeof *control);
  message->msg_control = control;
  message->msg_controllen = sizeof *control;
  size_t used = 0;
  struct cmsghdr *item = CMSG_FIRSTHDR(message);
  if (segment != 0) {
    item->cmsg_level = IPPROTO_UDP;
    item->cmsg_type = UDP_SEGMENT;
    item->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(item), &segment, sizeof segment);
    used += CMSG_SPACE(sizeof segment);
    item = CMSG_NXTHDR(message, item);
  }
  if (addresses->local_address != 0 && item != NULL) {
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(addresses->local_address)};
    item->cmsg_level = IPPROTO_IP;
    item->cmsg_type = IP_PKTINFO;
    item->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(item), &info, sizeof info);
    used += CMSG_SPACE(sizeof info);
  }
  message->msg_controllen = used;
}

int64_t clinux_tftp_send(int descriptor, const struct clinux_tftp_part *parts, size_t count, uint16_t segment,
                         const struct clinux_tftp_addresses *addresses) {
  struct sockaddr_in peer;
  union control control;
  struct msghdr message;
  address_message(&message, parts, count, segment, addresses, &peer, &control);
  ssize_t sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  // On a connected socket this is word of an earlier datagram, and this one was not tried.
  if (sent < 0 && errno == ECONNREFUSED) sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

void clinux_tftp_send_all(int descriptor, const struct clinux_tftp_datagram *datagrams, int count) {
  struct sockaddr_in peers[CLINUX_TFTP_DATAGRAMS];
  union control controls[CLINUX_TFTP_DATAGRAMS];
  struct mmsghdr messages[CLINUX_TFTP_DATAGRAMS];
  if (count > CLINUX_TFTP_DATAGRAMS) count = CLINUX_TFTP_DATAGRAMS;
  if (count == 1) {
    clinux_tftp_send(descriptor, datagrams->parts, datagrams->count, 0, &datagrams->addresses);
    return;
  }
  for (int index = 0; index < count; index++)
    address_message(&messages[index].msg_hdr, datagrams[index].parts, datagrams[index].count, 0,
                    &datagrams[index].addresses, &peers[index], &controls[index]);
  for (int done = 0; done < count;) {
    int sent = sendmmsg(descriptor, messages + done, (unsigned)(count - done), MSG_DONTWAIT | MSG_NOSIGNAL);
    // An error is about the first of them.
    done += sent > 0 ? sent : 1;
  }
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
