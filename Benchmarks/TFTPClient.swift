import CLinux
import Foundation
import Glibc
import NetworkTypes
import TFTP

/// A TFTP client made to measure servers: as fast as a process can be that compares every byte with the file it
/// should be. Any number of transfers at once, in one thread.
///
/// A process of its own, `perseid-bench tftp-client ADDRESS FILE CLIENTS WINDOW`, since it runs in a namespace of its own.
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

  static let blockSize = 1468
  private static let patience = 60.0

  private struct Download {
    let descriptor: Int32
    var begin: Double
    var firstByte: Double?
    var heard: Double
    var isConnected = false
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
  private var downloads: [Download] = []
  private let epoll = clinux_tftp_epoll_create()
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 2048, alignment: 64)
  private let sizes = UnsafeMutablePointer<UInt32>.allocate(capacity: 64)
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
    _ = clinux_tftp_reserve_descriptors(UInt64(clients + 64))
    for index in 0..<clients {
      let descriptor = clinux_tftp_socket(0, 0, 0)
      guard descriptor >= 0 else { throw Failure(text: "no socket for client \(index)") }
      clinux_tftp_receive_buffer(descriptor, 4 << 20)
      _ = clinux_tftp_epoll_add(epoll, descriptor, UInt64(index))
      downloads.append(Download(descriptor: descriptor, begin: 0, heard: 0))
    }
  }

  struct Failure: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
  }

  mutating func run() throws -> Result {
    let start = Self.clock()
    for index in downloads.indices {
      downloads[index].begin = Self.clock()
      downloads[index].heard = downloads[index].begin
      sendRequest(downloads[index])
    }
    var tokens = [UInt64](repeating: 0, count: 256)
    var open = downloads.count
    var looked = start
    while open > 0 {
      let count = clinux_tftp_epoll_wait(epoll, &tokens, 256, 200)
      let now = Self.clock()
      for token in tokens.prefix(Int(max(0, count))) where !downloads[Int(token)].isFinished {
        try receive(Int(token), now)
        if downloads[Int(token)].isFinished { open -= 1 }
      }
      if now - looked > 0.2 {
        looked = now
        guard now - start < Self.patience else { break }
        for index in downloads.indices { resend(index, now) }
      }
    }
    return Result(
      seconds: Self.clock() - start, finished: downloads.count { $0.isFinished },
      firstByteSeconds: downloads.map { ($0.firstByte ?? .infinity) - $0.begin }.max().map { min($0, Self.patience) }
        ?? 0, resent: resent)
  }

  private mutating func resend(_ index: Int, _ now: Double) {
    guard !downloads[index].isFinished, now - downloads[index].heard > 1 else { return }
    downloads[index].heard = now
    resent += 1
    if downloads[index].isConnected {
      acknowledge(downloads[index].expected &- 1, downloads[index].descriptor)
      downloads[index].inWindow = 0
    } else {
      sendRequest(downloads[index])
    }
  }

  private func sendRequest(_ download: Download) {
    var to = clinux_tftp_addresses(peer_address: address.rawValue, peer_port: 69, local_address: 0)
    request.withUnsafeBytes { bytes in
      var part = clinux_tftp_part(start: bytes.baseAddress, count: bytes.count)
      _ = clinux_tftp_send(download.descriptor, &part, 1, 0, &to)
    }
  }

  private func acknowledge(_ block: UInt16, _ descriptor: Int32) {
    var packet = (UInt8(0), UInt8(4), UInt8(block >> 8), UInt8(truncatingIfNeeded: block))
    _ = Glibc.send(descriptor, &packet, 4, Int32(MSG_DONTWAIT))
  }

  private mutating func receive(_ index: Int, _ now: Double) throws {
    var port: UInt16 = 0
    // Without a window there is one packet at a time: to look for more would cost as much as the first.
    let most: Int32 = downloads[index].window > 1 ? 64 : 1
    let count = clinux_bench_receive(downloads[index].descriptor, buffer.baseAddress, 2048, sizes, most, &port)
    guard count > 0 else { return }
    if !downloads[index].isConnected {
      guard clinux_bench_connect(downloads[index].descriptor, address.rawValue, port) == 0 else { return }
      downloads[index].isConnected = true
    }
    downloads[index].heard = now
    for slot in 0..<Int(count) where !downloads[index].isFinished {
      try packet(UnsafeRawBufferPointer(rebasing: buffer[(slot * 2048)..<(slot * 2048 + Int(sizes[slot]))]), index, now)
    }
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
      if isLast || downloads[index].inWindow >= downloads[index].window {
        acknowledge(block, downloads[index].descriptor)
        downloads[index].inWindow = 0
      }
      guard isLast else { return }
      guard downloads[index].offset == file.count else { throw Failure(text: "client \(index): the file is cut short") }
      downloads[index].isFinished = true
      close(downloads[index].descriptor)
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
      acknowledge(0, downloads[index].descriptor)
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
