import CLinux
import Glibc
import StateClient
import StateProtocol

/// Mounts what the kernel offers, and reads its command line.
enum Mounts {
  private struct Mount {
    var source: String
    var target: String
    var type: String
    var flags: UInt
    var options: String
  }

  static func run(_ boot: Boot) throws {
    let noSetUser = clinux_mount_flag_nosuid()
    let quiet = noSetUser | clinux_mount_flag_nodev() | clinux_mount_flag_noexec()
    let mounts = [
      Mount(source: "proc", target: "/proc", type: "proc", flags: quiet, options: ""),
      Mount(source: "sysfs", target: "/sys", type: "sysfs", flags: quiet, options: ""),
      Mount(source: "devtmpfs", target: "/dev", type: "devtmpfs", flags: noSetUser, options: "mode=0755"),
      Mount(source: "devpts", target: "/dev/pts", type: "devpts", flags: noSetUser, options: "mode=0620,gid=5"),
      Mount(
        source: "tmpfs", target: "/run", type: "tmpfs", flags: noSetUser | clinux_mount_flag_nodev(),
        options: "mode=0755,size=25%"),
      Mount(
        // Its own: some systems make /run one from which nothing is executed, and nodescripts are.
        source: "tmpfs", target: "/run/perseid", type: "tmpfs", flags: noSetUser | clinux_mount_flag_nodev(),
        options: "mode=0755,size=25%"),
      Mount(
        source: "tmpfs", target: "/tmp", type: "tmpfs", flags: noSetUser | clinux_mount_flag_nodev(),
        options: "mode=1777"),
    ]
    for one in mounts {
      mkdir(one.target, 0o755)
      // EBUSY: mounted already, by an earlier try of this step.
      if mount(one.source, one.target, one.type, one.flags, one.options) == -1 && errno != EBUSY {
        throw SystemError("mount \(one.type) at \(one.target)")
      }
    }
    mkdir("/newroot", 0o755)
    boot.commandLine = KernelCommandLine(SmallFile.text("/proc/cmdline") ?? "")
    boot.console.close()
    boot.console = .open()
    let facts = MachineFacts.read(generation: nil)
    boot.say(
      "stage 1, Linux \(facts.kernelRelease), \(facts.processors) processors, \(facts.memoryBytes >> 20) MiB, boot "
        + (boot.commandLine.boot ?? "without a name"))
    if boot.commandLine.debug >= 2, let file = try? OpenFile("/proc/sys/kernel/printk", flags: O_WRONLY) {
      // Every message of the kernel's, on every console.
      _ = write(file.descriptor, "8\n", 2)
    }
  }
}
