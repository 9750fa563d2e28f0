import Foundation
import Lab
import NetworkTypes

/// `perseid-bench dhcp-ask SERVER OWN MAC`: what a machine is offered right now, asked for it by a relay agent at the
/// address OWN.
struct DHCPQuestion {
  let server: IPv4Address
  let own: IPv4Address
  let mac: MACAddress

  /// - Returns: The offered address (RFC 2131, section 2: yiaddr).
  func ask() throws -> IPv4Address {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    defer { close(descriptor) }
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    try on(own, "bound") { bind(descriptor, $0, $1) }
    try on(server, "reached") { connect(descriptor, $0, $1) }
    let question = discover()
    guard send(descriptor, question, question.count, 0) == question.count else {
      throw LabError("no question was sent to \(server): \(String(cString: strerror(errno)))")
    }
    var answer = [UInt8](repeating: 0, count: 1500)
    let count = recv(descriptor, &answer, answer.count, 0)
    guard count >= 240, answer[4..<8] == question[4..<8] else {
      throw LabError("\(server) offered \(mac) nothing within 10 seconds")
    }
    return IPv4Address(answer[16], answer[17], answer[18], answer[19])
  }

  private func discover() -> [UInt8] {
    var message = [UInt8](repeating: 0, count: 240)
    message.replaceSubrange(0..<4, with: [1, 1, 6, 1])
    for index in 4..<8 { message[index] = .random(in: .min ... .max) }
    for (index, shift) in [24, 16, 8, 0].enumerated() {
      message[24 + index] = UInt8(truncatingIfNeeded: own.rawValue >> UInt32(shift))
    }
    for (index, shift) in [40, 32, 24, 16, 8, 0].enumerated() {
      message[28 + index] = UInt8(truncatingIfNeeded: mac.rawValue >> UInt64(shift))
    }
    message.replaceSubrange(236..<240, with: [99, 130, 83, 99])
    return message + [53, 1, 1, 255]
  }

  private func on(
    _ address: IPv4Address, _ what: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) throws {
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = UInt16(67).bigEndian
    name.sin_addr.s_addr = address.rawValue.bigEndian
    let result = withUnsafePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard result == 0 else {
      throw LabError("\(address), port 67, cannot be \(what): \(String(cString: strerror(errno)))")
    }
  }
}
