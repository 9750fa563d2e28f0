import Foundation
import Synchronization

/// What a process or a serial console says, as lines, for those who wait for one of them.
///
/// Terminal control sequences are dropped; at most `capacity` lines are kept, the newest. The last
/// unfinished line counts too, so that a prompt can be waited for.
package final class LineLog: Sendable {
  private struct State {
    var lines: [String] = []
    /// How many lines were dropped before the first that is kept.
    var dropped = 0
    var partial: [UInt8] = []
    var isClosed = false
    var waiters: [Int: (matches: @Sendable (String) -> Bool, waiter: Waiter<String>)] = [:]
    var nextWaiter = 0
    var observers: [@Sendable (String) -> Void] = []
    var closers: [@Sendable () -> Void] = []
  }
  private let state = Mutex(State())
  private let capacity: Int

  package init(capacity: Int = 20_000) {
    self.capacity = capacity
  }

  /// - Parameter piece: What came; `nil` when nothing more will.
  func append(_ piece: ArraySlice<UInt8>?) {
    var calls: [() -> Void] = []
    state.withLock { state in
      guard let piece else {
        if !state.partial.isEmpty { finishLine(&state, &calls) }
        state.isClosed = true
        for (_, waiting) in state.waiters { calls.append { waiting.waiter.resume(with: nil) } }
        state.waiters = [:]
        for closer in state.closers { calls.append { closer() } }
        state.closers = []
        return
      }
      for byte in piece {
        if byte == UInt8(ascii: "\n") || state.partial.count == 4096 {
          finishLine(&state, &calls)
        }
        if byte != UInt8(ascii: "\n"), byte != UInt8(ascii: "\r") { state.partial.append(byte) }
      }
      if !state.partial.isEmpty { offer(plainText(state.partial), &state, &calls) }
    }
    for call in calls { call() }
  }

  private func finishLine(_ state: inout State, _ calls: inout [() -> Void]) {
    let line = plainText(state.partial)
    state.partial.removeAll(keepingCapacity: true)
    state.lines.append(line)
    if state.lines.count > capacity {
      let excess = capacity / 4
      state.lines.removeFirst(excess)
      state.dropped += excess
    }
    offer(line, &state, &calls)
    for observer in state.observers { calls.append { observer(line) } }
  }

  private func offer(_ line: String, _ state: inout State, _ calls: inout [() -> Void]) {
    for (number, waiting) in state.waiters where waiting.matches(line) {
      state.waiters[number] = nil
      calls.append { waiting.waiter.resume(with: line) }
    }
  }

  /// Calls `observer` with each finished line from now on, on the thread that reads them.
  package func observe(_ observer: @escaping @Sendable (String) -> Void) {
    state.withLock { $0.observers.append(observer) }
  }

  /// Calls `closer` once when the writer has ended, at once where it has already.
  func whenClosed(_ closer: @escaping @Sendable () -> Void) {
    let isClosed = state.withLock { state in
      if !state.isClosed { state.closers.append(closer) }
      return state.isClosed
    }
    if isClosed { closer() }
  }

  /// All lines that are kept, the unfinished one at the end.
  package var lines: [String] {
    state.withLock { $0.lines + ($0.partial.isEmpty ? [] : [plainText($0.partial)]) }
  }

  package var text: String { lines.joined(separator: "\n") }

  /// The last lines that are not empty, indented, for an error message.
  package func tail(_ count: Int = 15) -> String {
    lines.filter { !$0.allSatisfy(\.isWhitespace) }.suffix(count)
      .map { "    " + ($0.count > 160 ? "..." + $0.suffix(157) : $0) }.joined(separator: "\n")
  }

  /// How many finished lines there were so far: the place to look from later.
  package var position: Int { state.withLock { $0.dropped + $0.lines.count } }

  /// Waits for a line.
  /// - Parameters:
  ///   - what: What is waited for, in words, for the error.
  ///   - start: Lines before this `position` do not count.
  /// - Returns: The line, at once where it is there already.
  /// - Throws: `LabError` with the last lines, where the time runs out or the writer ends first.
  @discardableResult
  package func line(
    _ what: String, from start: Int = 0, within timeout: Duration, where matches: @escaping @Sendable (String) -> Bool
  ) async throws -> String {
    let waiter = Waiter<String>()
    state.withLock { state in
      let kept = state.lines.dropFirst(max(0, start - state.dropped))
      if let line = kept.first(where: matches) {
        waiter.resume(with: line)
      } else if !state.partial.isEmpty, matches(plainText(state.partial)) {
        waiter.resume(with: plainText(state.partial))
      } else if state.isClosed {
        waiter.resume(with: nil)
      } else {
        state.waiters[state.nextWaiter] = (matches, waiter)
        state.nextWaiter += 1
      }
    }
    if let line = await waiter.value(within: timeout) { return line }
    try Task.checkCancellation()
    let reason = state.withLock { $0.isClosed } ? "its writer ended first" : "not within \(timeout)"
    throw LabError("waited for \(what): \(reason); the last lines:\n\(tail())")
  }

  @discardableResult
  package func line(containing text: String, from start: Int = 0, within timeout: Duration) async throws -> String {
    try await line("'\(text)'", from: start, within: timeout) { $0.contains(text) }
  }
}

/// Text without terminal control sequences (ECMA-48 CSI and two-character escapes) and control characters.
private func plainText(_ bytes: [UInt8]) -> String {
  guard bytes.contains(where: { $0 < 0x20 }) else { return String(decoding: bytes, as: UTF8.self) }
  var plain: [UInt8] = []
  var index = 0
  while index < bytes.count {
    if bytes[index] == 0x1B {
      index += 1
      if index < bytes.count, bytes[index] == UInt8(ascii: "[") {
        index += 1
        while index < bytes.count, !(0x40...0x7E).contains(bytes[index]) { index += 1 }
      }
    } else if bytes[index] >= 0x20 || bytes[index] == 0x09 {
      plain.append(bytes[index])
    }
    index += 1
  }
  return String(decoding: plain, as: UTF8.self)
}
