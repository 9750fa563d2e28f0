import CLinux
import Foundation
import Glibc
import NetworkTypes
import TFTP

/// Clients that ask and never answer, and one among them that does.
///
/// A process of its own, `perseid-bench tftp-flood ADDRESS FILE COUNT`, in a namespace to which 10.78.16.0/20 belongs.
struct TFTPFlood {
  /// What it prints, as JSON.
  struct Result: Codable, Sendable {
    /// How long a client that came last waited for its whole file.
    var clientSeconds: Double
    /// Bytes of IP packets that one request drew, for each of its own, until nothing more came.
    var outWithOptions: Double
    var outWithoutOptions: Double
  }

  /// Addresses that the requests come from.
  private static let addresses = 20
  /// Seconds: longer than our server waits for a client that has not answered yet.
  private static let silence: UInt32 = 20
  /// IP's and UDP's.
  private static let headers = 28

  let address: IPv4Address
  let path: String
  let count: Int

  func run() throws -> Result {
    let options = [("tsize", "0"), ("blksize", "1468"), ("windowsize", "64")]
    _ = clinux_tftp_reserve_descriptors(UInt64(count + 100))
    let (plain, full) = (request([]), request(options))
    let silent = [try send(plain, from: 0), try send(full, from: 0)]
    sleep(Self.silence)
    let outWithoutOptions = received(silent[0], for: plain)
    let outWithOptions = received(silent[1], for: full)
    var sockets: [Int32] = []
    defer { for descriptor in silent + sockets { close(descriptor) } }
    for index in 0..<count { sockets.append(try send(full, from: UInt32(index % Self.addresses))) }
    var client = try TFTPClient(address: address, path: path, clients: 1, window: 1)
    let result = try client.run()
    guard result.finished == 1 else { throw TFTPClient.Failure(text: "the client behind the flood was not served") }
    return Result(
      clientSeconds: result.seconds, outWithOptions: outWithOptions, outWithoutOptions: outWithoutOptions)
  }

  private func request(_ options: [(String, String)]) -> [UInt8] {
    Request(
      operation: .read, name: Array(URL(fileURLWithPath: path).lastPathComponent.utf8), mode: .octet,
      options: options.map { Request.Option(name: Array($0.0.utf8), value: Array($0.1.utf8)) }
    ).bytes
  }

  private func send(_ request: [UInt8], from number: UInt32) throws -> Int32 {
    let descriptor = clinux_tftp_socket(TFTPClient.firstAddress.rawValue + number, 0, 0)
    guard descriptor >= 0 else { throw TFTPClient.Failure(text: "no socket of 10.78.16.\(number + 1)") }
    var to = clinux_tftp_addresses(peer_address: address.rawValue, peer_port: 69, local_address: 0)
    request.withUnsafeBytes { bytes in
      var part = clinux_tftp_part(start: bytes.baseAddress, count: bytes.count)
      _ = clinux_tftp_send(descriptor, &part, 1, 0, &to)
    }
    return descriptor
  }

  private func received(_ descriptor: Int32, for request: [UInt8]) -> Double {
    var buffer = [UInt8](repeating: 0, count: 65536)
    var total = 0
    while case let size = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT)), size >= 0 {
      total += size + Self.headers
    }
    return Double(total) / Double(request.count + Self.headers)
  }
}
