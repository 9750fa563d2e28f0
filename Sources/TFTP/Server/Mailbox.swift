import CLinux
import Glibc
import NetworkTypes
import Synchronization

/// Where a client's packets come from: its address and port in one number.
struct Peer: Hashable, Sendable {
  let rawValue: UInt64

  init(address: UInt32, port: UInt16) {
    rawValue = UInt64(address) << 16 | UInt64(port)
  }

  var address: IPv4Address { IPv4Address(rawValue: UInt32(truncatingIfNeeded: rawValue >> 16)) }
  var port: UInt16 { UInt16(truncatingIfNeeded: rawValue) }
}

/// A question for the source of content, and whom the answer concerns.
struct Lookup: Sendable {
  /// Tells an answer from one to an earlier request of the same peer.
  let number: UInt64
  let peer: Peer
  let name: RequestedName
  /// Our address that was asked.
  let server: IPv4Address

  /// Asks for each name that may have been meant, until one is known.
  func ask(_ source: some ContentSource) async -> ContentAnswer {
    var first: ContentAnswer?
    for candidate in name.candidates {
      let answer = await source.content(named: candidate, for: peer.address, at: server)
      guard case .notFound = answer else { return answer }
      first = first ?? answer
    }
    return first ?? .notFound("no such file")
  }
}

/// What tasks hand to the server's thread; `descriptor` becomes readable when there is something.
final class Mailbox: Sendable {
  struct Contents {
    var answers: [(lookup: Lookup, answer: ContentAnswer)] = []
    var isStopping = false
  }

  let descriptor: Int32
  private let contents = Mutex(Contents())

  init() throws(SystemError) {
    descriptor = clinux_tftp_eventfd()
    guard descriptor >= 0 else { throw SystemError(number: -descriptor) }
  }

  deinit {
    close(descriptor)
  }

  func post(_ answer: ContentAnswer, to lookup: Lookup) {
    contents.withLock { $0.answers.append((lookup, answer)) }
    wake()
  }

  func stop() {
    contents.withLock { $0.isStopping = true }
    wake()
  }

  /// Empties it.
  func take() -> Contents {
    var counter: UInt64 = 0
    _ = read(descriptor, &counter, 8)
    return contents.withLock { contents in
      defer { contents.answers = [] }
      return contents
    }
  }

  private func wake() {
    var one: UInt64 = 1
    _ = write(descriptor, &one, 8)
  }
}
