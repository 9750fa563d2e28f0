// Stage 1 and the node's client: what a program that is process 1 asks of the kernel.
#ifndef CLINUX_STAGE1_H
#define CLINUX_STAGE1_H
// No system header but this one: with _GNU_SOURCE others would define types that Swift already has otherwise.
#include <stdint.h>

// finit_module(2) has no function in the C library, and syscall() is variadic. 0, or -1 with errno.
int clinux_finit_module(int fd, const char *parameters);

// reboot(2) with RB_AUTOBOOT: the constants are macros with computed values.
int clinux_restart(void);

// ioctl() is variadic, and struct ifreq is a union that Swift cannot name. 0, or -1 with errno.
int clinux_interface_flags(const char *name, unsigned *flags);
int clinux_interface_up(const char *name);
int clinux_interface_down(const char *name);
int clinux_interface_rename(const char *name, const char *new_name);
// A tagged network on an interface, by a name that the kernel gives it.
int clinux_vlan_add(const char *name, int id);
// Addresses in network order. Sets address, mask and broadcast.
int clinux_interface_address(const char *name, uint32_t address, uint32_t netmask, uint32_t broadcast);
// A gateway of 0: the destination is on the link itself. A route that is there already is no error.
int clinux_interface_route(const char *name, uint32_t destination, uint32_t netmask, uint32_t gateway);
int clinux_interface_mtu(const char *name, int bytes);

// makedev() is a macro.
uint64_t clinux_makedev(unsigned major, unsigned minor);

// MS_ flags are an enumeration in one C library and macros in another.
unsigned long clinux_mount_flag_nosuid(void);
unsigned long clinux_mount_flag_nodev(void);
unsigned long clinux_mount_flag_noexec(void);
unsigned long clinux_mount_flag_move(void);
unsigned long clinux_mount_flag_bind(void);

// openat2(2) with RESOLVE_BENEATH would need Linux 5.6; O_PATH and O_NOFOLLOW are macros behind _GNU_SOURCE.
int clinux_open_directory_at(int directory, const char *name);

// The number of the mount that an open file is in (statx(2), STATX_MNT_ID; Linux 5.8); -1 where the kernel does not say.
int64_t clinux_mount_number(int descriptor);

// posix_spawn in a process group of its own, with standard input from /dev/null and both outputs to
// `output`; SIGPIPE and the signal mask as a program expects them. 0, or an errno.
int clinux_spawn(int32_t *pid, const char *path, char *const arguments[], char *const environment[], int output);
// The same on a terminal of its own, for a person: a session leader with the terminal as its three files, and as the
// one whose ^C is for it.
int clinux_spawn_shell(
    int32_t *pid, const char *path, char *const arguments[], char *const environment[], const char *terminal);

// WIFEXITED and its kin are macros: the exit code, or 128 and the signal.
int clinux_exit_code(int status);

// A fault in process 1 would be a kernel panic without a word: instead a line on the console, a
// pause, and a restart of the machine. Signal handlers must not run Swift.
void clinux_restart_on_fault(unsigned seconds);

// Restarts the machine unless this is called again within so many seconds; 0 ends that. A system call
// that never returns (a driver being loaded) cannot be left: another thread has to see it.
void clinux_restart_when_hung(unsigned seconds);

// sync(2), waited for so long: a disk that does not answer holds whoever calls it, so another process does.
void clinux_sync(unsigned seconds);

// sys/xattr.h is no part of Swift's C library module. The name is taken beneath an open directory's
// path, and a link itself is meant. 0, or -1 with errno.
int clinux_set_attribute(int fd, const char *name, const void *value, uint64_t length);
int clinux_set_attribute_of_link(const char *path, const char *name, const void *value, uint64_t length);
// The value's length.
int64_t clinux_attribute_of_link(const char *path, const char *name, void *value, uint64_t length);

// strerrordesc_np() stands behind _GNU_SOURCE: the words for an errno, a constant; NULL for none.
const char *clinux_error_text(int code);

// statfs() and struct statfs share a name, which Swift resolves to one of them. The type's magic, or 0.
long clinux_filesystem_type(const char *path);

// ioctl() is variadic. Makes an open file a block device that is read only, and is gone with its last user. `path` gets
// the device's, at most `size` bytes with a NUL. The open device, or -1 with errno.
int clinux_loop_attach(int file, char *path, uint64_t size);

// struct sysinfo shares its name with sysinfo().
uint64_t clinux_memory_bytes(void);
#endif
