import DHCPWire
import Glibc
import Testing

@testable import DHCP

/// Frames over the loopback interface, of an EtherType for experiments.
@Suite(.enabled(if: geteuid() == 0, "packet sockets are root's"))
struct FrameBatchTests {
  private static func frame(_ number: UInt8, count: Int) -> [UInt8] {
    [UInt8](repeating: 0, count: 12) + [0x88, 0xB6] + [UInt8](repeating: number, count: count - 14)
  }

  @Test("of many frames only those are lost that the kernel does not take, and the others arrive whole and in order")
  func everythingArrives() throws {
    let capture = try CaptureHandle(interface: "lo", filter: "ether proto 0x88b6", bufferBytes: 1 << 20)
    let sender = try FrameSender(interface: "lo")
    // Longer than the interface's packets.
    let refused = [0, 1, 66, 99]
    var batch = FrameBatch()
    for number in 0..<100 {
      batch.append(Self.frame(UInt8(number), count: refused.contains(number) ? 70_000 : 100 + number))
    }
    #expect(sender.send(batch) == refused)
    batch.removeAll()
    #expect(sender.send(batch) == [])
    batch.append(Self.frame(100, count: 200))
    #expect(sender.send(batch) == [])
    var received: [[UInt8]] = []
    for _ in 0..<100 where received.count < 97 {
      _ = capture.read(waiting: 1000) { frame in received.append(frame.indices.map { frame[$0] }) }
    }
    let expected = (0..<100).filter { !refused.contains($0) }.map { Self.frame(UInt8($0), count: 100 + $0) }
    #expect(received == expected + [Self.frame(100, count: 200)])
  }

  @Test("a message gets its headers where it lies among the others, and none of them is touched")
  func headers() {
    let headers = UDPFrame(
      sourceCard: card(1), destinationCard: card(2), source: address("10.0.0.1"), destination: address("10.0.0.100"),
      sourcePort: 67, destinationPort: 68)
    let messages = (1...3).map { number in
      [UInt8](repeating: 0, count: UDPFrame.headerLength) + [UInt8](repeating: UInt8(number), count: 299 + number)
    }
    var batch = FrameBatch()
    var alone: [UInt8] = []
    for message in messages {
      batch.append(message, behind: headers)
      var frame = message
      headers.writeHeaders(into: &frame)
      alone += frame
    }
    #expect(batch.bytes == alone)
    #expect(batch.lengths == [342, 343, 344])
  }
}
