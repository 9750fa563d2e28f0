import Foundation
import Lab
import NetworkTypes
import Testing

/// U-Boot on a machine of its own, with our TFTP server at the other end of its cable. (EDK2's client, iPXE's,
/// pxelinux's, shim's and GRUB's load what they boot in BootTests.)
@Suite(.enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"), .timeLimit(.minutes(5)))
struct TFTPBootLoaderTests {
  /// For U-Boot on x86, which has a driver for this card.
  private static let machine = [
    "qemu-system-x86_64", "-machine", "pc,graphics=off", "-accel", "tcg", "-m", "256", "-nodefaults",
    "-display", "none", "-vga", "none", "-monitor", "none", "-no-reboot", "-serial", "stdio",
    "-bios", "/usr/lib/u-boot/qemu-x86/u-boot.rom",
    "-device", "e1000,netdev=net0", "-netdev", "tap,id=net0,ifname=u-boot,script=no,downscript=no",
  ]

  @Test func uBootReadsAFileRightBlockByBlockAndInWindows() async throws {
    let address = IPv4Address(10, 79, 0, 1)
    for words in [
      "tuntap add dev u-boot mode tap", "address add \(address)/24 dev u-boot", "link set u-boot up",
    ] { try await Command(["ip"] + words.split(separator: " ").map(String.init)).run().check() }
    let bytes = TFTPSite.pattern(300_001)
    try await TFTPSite.with(address: address, port: 69, more: ["boot/image": bytes]) { site in
      // On one line: while it loads, U-Boot throws away what is typed. The empty lines before end its countdown.
      let script = [
        "setenv ipaddr 10.79.0.2", "setenv serverip \(address)",
        "tftpboot 0x2000000 /boot//image", "crc32 0x2000000 $filesize",
        "setenv tftpwindowsize 8", "setenv tftpblocksize 512",
        "tftpboot 0x3000000 boot/image", "crc32 0x3000000 $filesize", "reset",
      ].joined(separator: "; ")
      let result = try await Command(Self.machine)
        .run(input: String(repeating: "\n", count: 20) + script + "\n", timeout: .seconds(200)).check()
      let sum = String(Self.crc32(bytes), radix: 16)
      let expected = String(repeating: "0", count: 8 - sum.count) + sum
      #expect(result.output.components(separatedBy: "==> \(expected)").count == 3, "\(result.output)")
      #expect(await site.log.count(of: .finished, atLeast: 2) == 2)
    }
  }

  private static func crc32(_ bytes: [UInt8]) -> UInt32 {
    var sum = ~UInt32(0)
    for byte in bytes {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum & 1 == 0 ? sum >> 1 : (sum >> 1) ^ 0xEDB8_8320 }
    }
    return ~sum
  }
}
