import Synchronization

/// Who may fetch a root now. So many boots at a time are let in; the others wait, and come back spread out.
package final class Admission: Sendable {
  /// Boots at a time; 0 is any number.
  private let limit: Int
  /// Who is in, and since when it was heard of last: a node that fell silent does not keep its place.
  private let admitted = Mutex<[String: Moment]>([:])

  /// Seconds after which a place is free again, whatever became of its node.
  package static let boundSeconds = 600.0

  package init(limit: Int) {
    self.limit = limit
  }

  /// Lets a node in, where there is room. One that is in stays in, as long as it comes back.
  /// - Returns: How many are in, where it has to wait.
  package func admit(_ node: String, now: Moment) -> Int? {
    guard limit > 0 else { return nil }
    return admitted.withLock { admitted in
      admitted = admitted.filter { now.seconds(since: $0.value) < Self.boundSeconds }
      guard admitted[node] != nil || admitted.count < limit else { return admitted.count }
      admitted[node] = now
      return nil
    }
  }

  /// A node has its root, or began anew without one.
  package func leave(_ node: String) {
    guard limit > 0 else { return }
    admitted.withLock { $0[node] = nil }
  }
}

/// Sends machines that booted another capsule than the one assigned through their firmware again: once.
package final class CapsuleCorrection: Sendable {
  /// When a node was last sent.
  private let sent = Mutex<[String: Moment]>([:])

  /// Seconds in which a node is sent once: where that does not help (another boot server, a local disk), it goes on
  /// in the capsule that it booted.
  package static let boundSeconds = 3600.0

  package init() {}

  package func isDue(_ node: String, now: Moment) -> Bool {
    sent.withLock { sent in
      sent = sent.filter { now.seconds(since: $0.value) < Self.boundSeconds }
      guard sent[node] == nil else { return false }
      sent[node] = now
      return true
    }
  }
}
