import Crypto
import FoundationEssentials
import Glibc
import Synchronization

/// `<state>/hostkeys/NODE/ssh_host_ed25519_key`: made when the node first needs it, and its own from then on.
package final class HostKeys: Sendable {
  private let directory: String
  /// Two plans at one moment must not make two keys.
  private let known = Mutex<[String: Pair]>([:])

  package struct Pair: Hashable, Sendable {
    /// OpenSSH's own format (PROTOCOL.key), and one line.
    package var privateKey: [UInt8]
    package var publicKey: [UInt8]
  }

  package init(directory: String) {
    self.directory = directory
  }

  /// - Throws: `ApplianceError`.
  package func pair(of node: String) throws -> Pair {
    try known.withLock { known in
      if let pair = known[node] { return pair }
      let folder = directory + "/" + node
      let path = folder + "/ssh_host_ed25519_key"
      do {
        let pair: Pair
        if FileManager.default.fileExists(atPath: path) {
          pair = Pair(
            privateKey: [UInt8](try Data(contentsOf: URL(filePath: path))),
            publicKey: [UInt8](try Data(contentsOf: URL(filePath: path + ".pub"))))
        } else {
          pair = Self.make(comment: "root@\(node)")
          try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
          try Self.write(pair.publicKey, to: path + ".pub", mode: 0o644)
          try Self.write(pair.privateKey, to: path, mode: 0o600)
        }
        if known.count >= 16384 { known.removeAll() }
        known[node] = pair
        return pair
      } catch {
        throw ApplianceError(
          .failed, "The host key \(path) cannot be read or made: \(error). Check its permissions and the disk's room.")
      }
    }
  }

  private static func write(_ bytes: [UInt8], to path: String, mode: mode_t) throws {
    let new = path + ".new"
    unlink(new)
    let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw HostKeyError(code: errno) }
    defer { close(descriptor) }
    guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0, rename(new, path) == 0
    else { throw HostKeyError(code: errno) }
  }

  /// openssh-key-v1, without a passphrase: PROTOCOL.key and RFC 8709 section 4.
  static func make(comment: String) -> Pair {
    let key = Curve25519.Signing.PrivateKey()
    let type = Array("ssh-ed25519".utf8)
    let open = [UInt8](key.publicKey.rawRepresentation)
    let blob = string(type) + string(open)
    let check = UInt32.random(in: 0 ... .max)
    var secret = integer(check) + integer(check) + string(type) + string(open)
    secret += string([UInt8](key.rawRepresentation) + open) + string(Array(comment.utf8))
    var padding: UInt8 = 1
    while !secret.count.isMultiple(of: 8) {
      secret.append(padding)
      padding += 1
    }
    var whole = Array("openssh-key-v1\0".utf8)
    whole += string(Array("none".utf8)) + string(Array("none".utf8)) + string([]) + integer(1)
    whole += string(blob) + string(secret)
    let encoded = Array(Data(whole).base64EncodedString())
    var lines = ""
    for start in stride(from: 0, to: encoded.count, by: 70) {
      lines += String(encoded[start..<min(start + 70, encoded.count)]) + "\n"
    }
    let text = "-----BEGIN OPENSSH PRIVATE KEY-----\n\(lines)-----END OPENSSH PRIVATE KEY-----\n"
    return Pair(
      privateKey: Array(text.utf8),
      publicKey: Array("ssh-ed25519 \(Data(blob).base64EncodedString()) \(comment)\n".utf8))
  }

  private static func integer(_ value: UInt32) -> [UInt8] {
    [UInt8(value >> 24), UInt8(value >> 16 & 0xFF), UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)]
  }

  private static func string(_ bytes: [UInt8]) -> [UInt8] { integer(UInt32(bytes.count)) + bytes }
}

private struct HostKeyError: Error, CustomStringConvertible {
  var code: Int32

  var description: String { String(cString: strerror(code)) }
}
