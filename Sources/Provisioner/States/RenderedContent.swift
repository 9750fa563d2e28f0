package import CapsuleFormat
import Crypto
import Synchronization

/// Small content that plans name by digest: scripts as they were when the plan was made. Bounded; what
/// falls out is asked for again with the next plan.
package final class RenderedContent: Sendable {
  private struct State {
    var contents: [CapsuleFormat.Digest: [UInt8]] = [:]
    /// The oldest first.
    var order: [CapsuleFormat.Digest] = []
    var bytes = 0
  }

  private let state = Mutex(State())
  private let limit: Int

  /// - Parameter limit: Bytes kept.
  package init(limit: Int = 64 << 20) {
    self.limit = limit
  }

  package func add(_ bytes: [UInt8]) throws -> CapsuleFormat.Digest {
    guard let digest = CapsuleFormat.Digest(bytes: Array(SHA256.hash(data: bytes))) else {
      throw ApplianceError(.failed, "No digest could be made of \(bytes.count) bytes.")
    }
    state.withLock { state in
      guard state.contents[digest] == nil else { return }
      state.contents[digest] = bytes
      state.order.append(digest)
      state.bytes += bytes.count
      var dropped = 0
      while state.bytes > limit, dropped < state.order.count - 1 {
        state.bytes -= state.contents.removeValue(forKey: state.order[dropped])?.count ?? 0
        dropped += 1
      }
      state.order.removeFirst(dropped)
    }
    return digest
  }

  package func bytes(_ digest: CapsuleFormat.Digest) -> [UInt8]? { state.withLock { $0.contents[digest] } }
}
