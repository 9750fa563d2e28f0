#include "clinux.h"
#include "clinux_stage1.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_vlan.h>
#include <linux/loop.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

int clinux_finit_module(int fd, const char *parameters) {
  return (int)syscall(SYS_finit_module, fd, parameters, 0);
}

int clinux_restart(void) {
  return reboot(RB_AUTOBOOT);
}

// One ioctl on a throw-away datagram socket.
static int interface_request(unsigned long request, void *argument) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  int result = ioctl(fd, request, argument);
  int error = errno;
  close(fd);
  errno = error;
  return result;
}

static int name_request(struct ifreq *request, const char *name) {
  memset(request, 0, sizeof *request);
  if (strlen(name) >= sizeof request->ifr_name) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(request->ifr_name, name);
  return 0;
}

int clinux_interface_flags(const char *name, unsigned *flags) {
  struct ifreq request;
  if (name_request(&request, name) < 0 || interface_request(SIOCGIFFLAGS, &request) < 0) return -1;
  *flags = (unsigned short)request.ifr_flags;
  return 0;
}

int clinux_interface_up(const char *name) {
  struct ifreq request;
  if (name_request(&request, name) < 0 || interface_request(SIOCGIFFLAGS, &request) < 0) return -1;
  if ((request.ifr_flags & IFF_UP) != 0) return 0;
  request.ifr_flags |= IFF_UP;
  return interface_request(SIOCSIFFLAGS, &request);
}

int clinux_interface_down(const char *name) {
  struct ifreq request;
  if (name_request(&request, name) < 0 || interface_request(SIOCGIFFLAGS, &request) < 0) return -1;
  if ((request.ifr_flags & IFF_UP) == 0) return 0;
  request.ifr_flags &= ~IFF_UP;
  return interface_request(SIOCSIFFLAGS, &request);
}

int clinux_interface_rename(const char *name, const char *new_name) {
  struct ifreq request;
  if (name_request(&request, name) < 0) return -1;
  if (strlen(new_name) >= sizeof request.ifr_newname) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(request.ifr_newname, new_name);
  return interface_request(SIOCSIFNAME, &request);
}

int clinux_vlan_add(const char *name, int id) {
  struct vlan_ioctl_args request;
  memset(&request, 0, sizeof request);
  if (strlen(name) >= sizeof request.device1) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(request.device1, name);
  request.cmd = ADD_VLAN_CMD;
  request.u.VID = id;
  return interface_request(SIOCSIFVLAN, &request);
}

static void put_address(struct sockaddr *place, uint32_t address) {
  struct sockaddr_in value;
  memset(&value, 0, sizeof value);
  value.sin_family = AF_INET;
  value.sin_addr.s_addr = address;
  memcpy(place, &value, sizeof value);
}

int clinux_interface_address(const char *name, uint32_t address, uint32_t netmask, uint32_t broadcast) {
  struct ifreq request;
  if (name_request(&request, name) < 0) return -1;
  put_address(&request.ifr_addr, address);
  if (interface_request(SIOCSIFADDR, &request) < 0) return -1;
  put_address(&request.ifr_netmask, netmask);
  if (interface_request(SIOCSIFNETMASK, &request) < 0) return -1;
  put_address(&request.ifr_broadaddr, broadcast);
  return interface_request(SIOCSIFBRDADDR, &request);
}

int clinux_interface_mtu(const char *name, int bytes) {
  struct ifreq request;
  if (name_request(&request, name) < 0) return -1;
  request.ifr_mtu = bytes;
  return interface_request(SIOCSIFMTU, &request);
}

int clinux_interface_route(const char *name, uint32_t destination, uint32_t netmask, uint32_t gateway) {
  struct rtentry route;
  char device[IFNAMSIZ];
  if (strlen(name) >= sizeof device) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(device, name);
  memset(&route, 0, sizeof route);
  put_address(&route.rt_dst, destination);
  put_address(&route.rt_genmask, netmask);
  put_address(&route.rt_gateway, gateway);
  route.rt_flags = RTF_UP | (gateway == 0 ? 0 : RTF_GATEWAY);
  route.rt_dev = device;
  int result = interface_request(SIOCADDRT, &route);
  return result < 0 && errno == EEXIST ? 0 : result;
}

uint64_t clinux_makedev(unsigned major, unsigned minor) {
  return makedev(major, minor);
}

unsigned long clinux_mount_flag_nosuid(void) { return MS_NOSUID; }
unsigned long clinux_mount_flag_nodev(void) { return MS_NODEV; }
unsigned long clinux_mount_flag_noexec(void) { return MS_NOEXEC; }
unsigned long clinux_mount_flag_move(void) { return MS_MOVE; }
unsigned long clinux_mount_flag_bind(void) { return MS_BIND; }

int64_t clinux_mount_number(int descriptor) {
#ifdef STATX_MNT_ID
  struct statx status;
  if (statx(descriptor, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) == 0 && status.stx_mask & STATX_MNT_ID)
    return (int64_t)status.stx_mnt_id;
#endif
  return -1;
}

int clinux_open_directory_at(int directory, const char *name) {
  return openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int spawn_with(
    int32_t *pid, const char *path, char *const arguments[], char *const environment[], const char *input,
    int output, short flags) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return error;
  error = posix_spawnattr_init(&attributes);
  if (error != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  sigemptyset(&none);
  sigfillset(&all);
  // Opened by the session leader, a terminal becomes the one of its session.
  posix_spawn_file_actions_addopen(&actions, 0, input, output < 0 ? O_RDWR : O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output < 0 ? 0 : output, 1);
  posix_spawn_file_actions_adddup2(&actions, output < 0 ? 0 : output, 2);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  error = posix_spawn(pid, path, &actions, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

int clinux_spawn(int32_t *pid, const char *path, char *const arguments[], char *const environment[], int output) {
  return spawn_with(pid, path, arguments, environment, "/dev/null", output, POSIX_SPAWN_SETPGROUP);
}

int clinux_spawn_shell(
    int32_t *pid, const char *path, char *const arguments[], char *const environment[], const char *terminal) {
  return spawn_with(pid, path, arguments, environment, terminal, -1, POSIX_SPAWN_SETSID);
}

int clinux_exit_code(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static unsigned fault_pause;

static void on_fault(int number) {
  static const char words[] =
      "\r\nperseid: stage 1 met a fault inside itself.\r\nperseid: the machine restarts in a moment.\r\n";
  struct timespec pause = {.tv_sec = fault_pause, .tv_nsec = 0};
  (void)number;
  ssize_t written = write(2, words, sizeof words - 1);
  (void)written;
  nanosleep(&pause, NULL);
  reboot(RB_AUTOBOOT);
  for (;;) nanosleep(&pause, NULL);
}

void clinux_restart_on_fault(unsigned seconds) {
  static const int faults[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_fault;
  fault_pause = seconds;
  for (unsigned index = 0; index < sizeof faults / sizeof *faults; index++) sigaction(faults[index], &action, NULL);
}

static _Atomic int64_t hang_deadline;

static int64_t monotonic_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec;
}

static void *look_for_hang(void *unused) {
  static const char words[] =
      "\r\nperseid: the kernel does not come back from what stage 1 asked of it.\r\nperseid: the machine restarts "
      "now.\r\n";
  struct timespec pause = {.tv_sec = 1, .tv_nsec = 0};
  for (;;) {
    nanosleep(&pause, NULL);
    int64_t deadline = hang_deadline;
    if (deadline == 0 || monotonic_seconds() < deadline) continue;
    ssize_t written = write(2, words, sizeof words - 1);
    nanosleep(&pause, NULL);
    // At once: an orderly restart asks every driver, also the one that hangs.
    int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) written = write(fd, "b", 1);
    (void)written;
    reboot(RB_AUTOBOOT);
  }
  return unused;
}

void clinux_restart_when_hung(unsigned seconds) {
  static int is_watched;
  hang_deadline = seconds == 0 ? 0 : monotonic_seconds() + seconds;
  if (is_watched || seconds == 0) return;
  pthread_t thread;
  is_watched = pthread_create(&thread, NULL, look_for_hang, NULL) == 0;
}

void clinux_sync(unsigned seconds) {
  pid_t child = fork();
  if (child == 0) {
    sync();
    _exit(0);
  }
  struct timespec pause = {.tv_sec = 0, .tv_nsec = 50000000};
  for (unsigned tries = 0; child > 0 && tries < seconds * 20; tries++) {
    if (waitpid(child, NULL, WNOHANG) != 0) return;
    nanosleep(&pause, NULL);
  }
}

int clinux_set_attribute(int fd, const char *name, const void *value, uint64_t length) {
  return fsetxattr(fd, name, value, length, 0);
}

int clinux_set_attribute_of_link(const char *path, const char *name, const void *value, uint64_t length) {
  return lsetxattr(path, name, value, length, 0);
}

int64_t clinux_attribute_of_link(const char *path, const char *name, void *value, uint64_t length) {
  return lgetxattr(path, name, value, length);
}

const char *clinux_error_text(int code) {
  return strerrordesc_np(code);
}

long clinux_filesystem_type(const char *path) {
  struct statfs status;
  return statfs(path, &status) < 0 ? 0 : (long)status.f_type;
}

uint64_t clinux_memory_bytes(void) {
  struct sysinfo status;
  return sysinfo(&status) < 0 ? 0 : (uint64_t)status.totalram * status.mem_unit;
}

// 0, or -1 with errno.
static int loop_set(int device, int file) {
  struct loop_info64 info;
  memset(&info, 0, sizeof info);
  info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
#ifdef LOOP_CONFIGURE
  // Since Linux 5.8, in one step.
  struct loop_config config;
  memset(&config, 0, sizeof config);
  config.fd = (unsigned)file;
  config.info = info;
  int result = ioctl(device, LOOP_CONFIGURE, &config);
  if (result == 0 || (errno != EINVAL && errno != ENOTTY)) return result;
#endif
  if (ioctl(device, LOOP_SET_FD, file) < 0) return -1;
  if (ioctl(device, LOOP_SET_STATUS64, &info) == 0) return 0;
  int error = errno;
  ioctl(device, LOOP_CLR_FD, 0);
  errno = error;
  return -1;
}

int clinux_loop_attach(int file, char *path, uint64_t size) {
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return -1;
  int device = -1, error = EBUSY;
  // Another may take the free one first.
  for (int attempt = 0; attempt < 16 && device < 0; attempt++) {
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) {
      error = errno;
      break;
    }
    if (snprintf(path, size, "/dev/loop%d", number) >= (int)size) {
      error = ENAMETOOLONG;
      break;
    }
    device = open(path, O_RDONLY | O_CLOEXEC);
    if (device >= 0 && loop_set(device, file) < 0) {
      error = errno;
      close(device);
      device = -1;
      if (error != EBUSY) break;
    }
  }
  close(control);
  errno = error;
  return device;
}
