import Glibc
package import NetworkTypes

/// Finds out whether the operating system runs a DHCP client of its own for an interface, by what it leaves open.
///
/// An address alone does not tell: it may be the one that stage 1 has set, with nobody to renew it.
package enum SystemDHCPClient {
  /// - Parameters:
  ///   - address: What the interface was given.
  ///   - process: Whose view of the network counts; tests look into a namespace with it.
  /// - Returns: What was found, in words; `nil` where nobody is there.
  package static func find(on interface: String, address: IPv4Address, process: String = "self") -> String? {
    let proc = "/proc/\(process)"
    let ports = listeners(onPort: 68, SmallFile.text(proc + "/net/udp") ?? "")
    // systemd-networkd, NetworkManager and dhcpcd listen at the address while they hold it.
    if ports.contains(address) { return "something listens at \(address), port 68" }
    // dhclient listens everywhere, whichever interfaces are its own; on those it has a packet socket besides.
    if ports.contains(.any), let index = SmallFile.text("\(proc)/root/sys/class/net/\(interface)/ifindex"),
      hasPacketSocket(onIndex: index, SmallFile.text(proc + "/net/packet") ?? "")
    {
      return "something listens on \(interface), port 68"
    }
    // udhcpc has nothing open until it renews.
    let own = link(proc + "/ns/net")
    for other in SmallFile.names(in: "/proc") where other.allSatisfy(\.isASCIIDigit) {
      guard let bytes = try? SmallFile.read("/proc/\(other)/cmdline", limit: 64 << 10) else { continue }
      let words = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      if isUdhcpc(words, for: interface), link("/proc/\(other)/ns/net") == own {
        return "udhcpc (process \(other)) is on \(interface)"
      }
    }
    return nil
  }

  /// The local addresses of UDP sockets at a port, from the kernel's table (proc(5), /proc/net/udp): the address in
  /// hexadecimal as the machine has it in memory, the port as a number.
  package static func listeners(onPort port: UInt16, _ table: String) -> Set<IPv4Address> {
    var found: Set<IPv4Address> = []
    for line in table.split(separator: "\n").dropFirst() {
      let fields = line.split(separator: " ")
      guard fields.count > 1 else { continue }
      let parts = fields[1].split(separator: ":")
      guard parts.count == 2, UInt16(parts[1], radix: 16) == port, let raw = UInt32(parts[0], radix: 16) else {
        continue
      }
      found.insert(IPv4Address(rawValue: UInt32(bigEndian: raw)))
    }
    return found
  }

  /// Whether a packet socket takes IPv4 from an interface, from the kernel's table (/proc/net/packet): type, protocol
  /// (0003 is all of them, 0800 IPv4) and index are the third to the fifth field.
  package static func hasPacketSocket(onIndex index: String, _ table: String) -> Bool {
    table.split(separator: "\n").dropFirst().contains { line in
      let fields = line.split(separator: " ")
      return fields.count > 4 && (fields[3] == "0003" || fields[3] == "0800") && fields[4] == index
    }
  }

  /// `udhcpc`, by itself or as busybox's; without -i it takes eth0.
  package static func isUdhcpc(_ words: [String], for interface: String) -> Bool {
    let names = words.prefix(2).map { $0.split(separator: "/").last.map(String.init) ?? "" }
    let arguments: ArraySlice<String>
    if names.first == "udhcpc" {
      arguments = words.dropFirst()
    } else if names.first == "busybox", names.last == "udhcpc" {
      arguments = words.dropFirst(2)
    } else {
      return false
    }
    var wanted = "eth0"
    for (index, word) in zip(arguments.indices, arguments) {
      if word == "-i" || word == "--interface" {
        if index + 1 < arguments.endIndex { wanted = arguments[index + 1] }
      } else if word.hasPrefix("--interface=") {
        wanted = String(word.dropFirst("--interface=".count))
      } else if word.hasPrefix("-i"), word.count > 2 {
        wanted = String(word.dropFirst(2))
      }
    }
    return wanted == interface
  }

  private static func link(_ path: String) -> [CChar]? {
    var target = [CChar](repeating: 0, count: 256)
    let count = readlink(path, &target, target.count)
    return count < 0 ? nil : Array(target.prefix(count))
  }
}

extension Character {
  fileprivate var isASCIIDigit: Bool { isASCII && isNumber }
}
