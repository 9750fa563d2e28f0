import CLinux
import Foundation
import Glibc
import NetworkTypes
import TFTP

/// A TFTP client made to measure servers: as fast as a process can be that compares every byte with the file it
/// should be. Any number of transfers at once, in one thread.
///
/// As a boot ROM does, it looks for packets without ever sleeping: so a server is measured by what it does, and not by
/// how long the client takes to wake up. Each of several clients has an address of its own, and all of them one socket,
/// so that the client reads and answers many blocks with few system calls.
///
/// A process of its own, `perseid-bench tftp-client ADDRESS FILE CLIENTS WINDOW`, since it runs in a namespace of its
/// own, to which 10.78.16.0/20 belongs.
struct TFTPClient {
  /// What it prints, as JSON.
  struct Result: Codable, Sendable {
    /// From the first request to the last byte.
    var seconds: Double
    /// Transfers of which every byte was right.
    var finished: Int
    /// Of the transfer that waited longest for its first byte, from its own request.
    var firstByteSeconds: Double
    /// Packets sent again, since nothing came for a second.
    var resent: Int
  }

  struct Failure: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
  }

  static let blockSize = 1468
  /// The first of the addresses of clients.
  static let firstAddress = IPv4Address(10, 78, 16, 1)
  private static let patience = 60.0
  /// Bytes that may wait for the socket.
  private static let bufferSize: Int32 = 16 << 20
  /// Packets received at once, and the bytes that each may have.
  private static let (slots, slotSize) = (64, 2048)

  private struct Download {
    var begin: Double
    var firstByte: Double?
    var heard: Double
    /// The server's of this transfer, once it has answered.
    var port: UInt16?
    var blockSize = 512
    var window = 1
    var expected: UInt16 = 1
    var inWindow = 0
    var offset = 0
    var isFinished = false
  }

  private let address: IPv4Address
  private let file: Data
  private let request: [UInt8]
  private let descriptor: Int32
  private let received: UnsafeMutablePointer<clinux_tftp_batch>
  private var downloads: [Download]
  /// A client that is alone connects its socket: then packets need no addresses.
  private var isConnected = false
  private var acknowledgements = AcknowledgementQueue(capacity: slots)
  private var open: Int
  private var resent = 0

  init(address: IPv4Address, path: String, clients: Int, window: Int) throws {
    self.address = address
    file = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
    var options = [("blksize", "\(Self.blockSize)")]
    if window > 1 { options.append(("windowsize", "\(window)")) }
    request =
      Request(
        operation: .read, name: Array(URL(fileURLWithPath: path).lastPathComponent.utf8), mode: .octet,
        options: options.map { Request.Option(name: Array($0.0.utf8), value: Array($0.1.utf8)) }
      ).bytes
    descriptor = clinux_tftp_socket(0, 0, clients > 1 ? 1 : 0)
    guard descriptor >= 0, let batch = clinux_tftp_batch_create(Int32(Self.slots), Self.slotSize) else {
      throw Failure(text: "no socket")
    }
    received = batch
    clinux_tftp_receive_buffer(descriptor, Self.bufferSize)
    clinux_tftp_send_buffer(descriptor, Self.bufferSize)
    downloads = Array(repeating: Download(begin: 0, heard: 0), count: clients)
    open = clients
  }

  mutating func run() throws -> Result {
    let start = Self.clock()
    for index in downloads.indices {
      downloads[index].begin = Self.clock()
      downloads[index].heard = downloads[index].begin
      sendRequest(index)
    }
    var looked = start
    while open > 0 {
      let count = receive()
      let now = Self.clock()
      for slot in 0..<max(0, count) { try packet(in: slot, now) }
      acknowledgements.flush(descriptor)
      if now - looked > 0.2 {
        looked = now
        guard now - start < Self.patience else { break }
        for index in downloads.indices { resend(index, now) }
        acknowledgements.flush(descriptor)
      }
    }
    return Result(
      seconds: Self.clock() - start, finished: downloads.count { $0.isFinished },
      firstByteSeconds: downloads.map { ($0.firstByte ?? .infinity) - $0.begin }.max().map { min($0, Self.patience) }
        ?? 0, resent: resent)
  }

  private func receive() -> Int {
    guard isConnected else { return Int(clinux_tftp_batch_receive(received, descriptor, Int32(Self.slots))) }
    // Without a window there is one packet at a time: to look for more would cost as much as the first.
    return downloads[0].window > 1
      ? Int(clinux_tftp_batch_receive(received, descriptor, Int32(Self.slots)))
      : Int(clinux_tftp_batch_receive_connected(received, descriptor))
  }

  private mutating func resend(_ index: Int, _ now: Double) {
    guard !downloads[index].isFinished, now - downloads[index].heard > 1 else { return }
    downloads[index].heard = now
    resent += 1
    if downloads[index].port == nil {
      sendRequest(index)
    } else {
      acknowledge(downloads[index].expected &- 1, index)
    }
  }

  /// Of the client; its own is 0 where the system chooses it, which it does for one that is alone.
  private func addresses(_ index: Int, port: UInt16) -> clinux_tftp_addresses {
    clinux_tftp_addresses(
      peer_address: address.rawValue, peer_port: port,
      local_address: downloads.count > 1 ? Self.firstAddress.rawValue + UInt32(index) : 0)
  }

  private func sendRequest(_ index: Int) {
    var to = addresses(index, port: 69)
    request.withUnsafeBytes { bytes in
      var part = clinux_tftp_part(start: bytes.baseAddress, count: bytes.count)
      _ = clinux_tftp_send(descriptor, &part, 1, 0, &to)
    }
  }

  private mutating func acknowledge(_ block: UInt16, _ index: Int) {
    downloads[index].inWindow = 0
    acknowledgements.add(
      block, to: isConnected ? clinux_tftp_addresses() : addresses(index, port: downloads[index].port ?? 69), descriptor
    )
  }

  private mutating func packet(in slot: Int, _ now: Double) throws {
    let addresses = received.pointee.addresses[slot]
    let index = downloads.count > 1 ? Int(addresses.local_address) - Int(Self.firstAddress.rawValue) : 0
    guard downloads.indices.contains(index), !downloads[index].isFinished else { return }
    if downloads[index].port == nil {
      downloads[index].port = addresses.peer_port
      if downloads.count == 1 {
        isConnected = clinux_bench_connect(descriptor, address.rawValue, addresses.peer_port) == 0
      }
    }
    downloads[index].heard = now
    let count = min(Int(received.pointee.counts[slot]), Self.slotSize)
    try packet(UnsafeRawBufferPointer(start: received.pointee.bytes + slot * Self.slotSize, count: count), index, now)
  }

  private mutating func packet(_ bytes: UnsafeRawBufferPointer, _ index: Int, _ now: Double) throws {
    guard bytes.count >= 4 else { return }
    switch bytes[1] {
    case 3:
      let block = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
      guard block == downloads[index].expected else { return }
      let (offset, length) = (downloads[index].offset, bytes.count - 4)
      let isRight = file.withUnsafeBytes { file in
        guard offset + length <= file.count, let file = file.baseAddress, let bytes = bytes.baseAddress else {
          return length == 0
        }
        return memcmp(file + offset, bytes + 4, length) == 0
      }
      guard isRight else { throw Failure(text: "client \(index): wrong bytes in block \(block), at \(offset)") }
      if downloads[index].firstByte == nil { downloads[index].firstByte = now }
      downloads[index].offset += length
      downloads[index].expected &+= 1
      downloads[index].inWindow += 1
      let isLast = length < downloads[index].blockSize
      if isLast || downloads[index].inWindow >= downloads[index].window { acknowledge(block, index) }
      guard isLast else { return }
      guard downloads[index].offset == file.count else { throw Failure(text: "client \(index): the file is cut short") }
      downloads[index].isFinished = true
      open -= 1
    case 6:
      guard downloads[index].offset == 0, case .optionAcknowledgement(let options) = Packet(parsing: bytes) else {
        return
      }
      for option in options {
        guard let value = Int(String(decoding: option.value, as: UTF8.self)) else { continue }
        switch String(decoding: option.name, as: UTF8.self) {
        case "blksize": downloads[index].blockSize = value
        case "windowsize": downloads[index].window = value
        default: break
        }
      }
      acknowledge(0, index)
    case 5:
      if case .error(_, let text) = Packet(parsing: bytes) { throw Failure(text: "client \(index): error: \(text)") }
    default: break
    }
  }

  /// Seconds.
  private static func clock() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}

/// ACKs that leave together.
private struct AcknowledgementQueue {
  private let capacity: Int
  private let bytes: UnsafeMutablePointer<UInt8>
  private let parts: UnsafeMutablePointer<clinux_tftp_part>
  private let datagrams: UnsafeMutablePointer<clinux_tftp_datagram>
  private var count = 0

  /// - Parameter capacity: At most CLINUX_TFTP_DATAGRAMS.
  init(capacity: Int) {
    self.capacity = capacity
    bytes = .allocate(capacity: 4 * capacity)
    parts = .allocate(capacity: capacity)
    datagrams = .allocate(capacity: capacity)
  }

  mutating func add(_ block: UInt16, to addresses: clinux_tftp_addresses, _ descriptor: Int32) {
    if count == capacity { flush(descriptor) }
    let packet = bytes + 4 * count
    packet[0] = 0
    packet[1] = 4
    packet[2] = UInt8(block >> 8)
    packet[3] = UInt8(truncatingIfNeeded: block)
    parts[count] = clinux_tftp_part(start: packet, count: 4)
    datagrams[count] = clinux_tftp_datagram(parts: parts + count, count: 1, addresses: addresses)
    count += 1
  }

  mutating func flush(_ descriptor: Int32) {
    guard count > 0 else { return }
    clinux_tftp_send_all(descriptor, datagrams, Int32(count))
    count = 0
  }
}
