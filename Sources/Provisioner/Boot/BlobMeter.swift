import CapsuleFormat
import Synchronization

/// Adds up what a boot has fetched of a blob in many pieces, so that it is told once that it began and
/// once that all of it is there.
final class BlobMeter: Sendable {
  private struct Key: Hashable {
    var boot: String
    var digest: Digest
  }

  private struct Progress {
    var begun: Moment
    var bytes: Int64 = 0
    var requests = 0
  }

  private let state = Mutex<[Key: Progress]>([:])
  private static let limit = 16384

  /// Whether this is the first request of this boot for this blob.
  func begins(_ digest: Digest, boot: String, now: Moment) -> Bool {
    state.withLock { state in
      let key = Key(boot: boot, digest: digest)
      if state[key] != nil { return false }
      if state.count >= Self.limit { state.removeAll() }
      state[key] = Progress(begun: now)
      return true
    }
  }

  /// What a finished boot fetched in all, at the moment when it has all `size` bytes; `nil` before and after.
  func delivered(
    _ bytes: Int, of digest: Digest, size: Int64, boot: String, now: Moment
  ) -> (bytes: Int64, requests: Int, seconds: Double)? {
    state.withLock { state in
      let key = Key(boot: boot, digest: digest)
      guard var progress = state[key] else { return nil }
      let before = progress.bytes
      progress.bytes = before.addingReportingOverflow(Int64(bytes)).partialValue
      progress.requests += 1
      state[key] = progress
      guard before < size, progress.bytes >= size else { return nil }
      return (progress.bytes, progress.requests, now.seconds(since: progress.begun))
    }
  }
}
