import CapsuleFormat
import StateClient

/// Which frames are to be fetched, by whom, and how the appliances do: shared by the pipeline's connections.
struct FetchState: Sendable {
  /// How one appliance does.
  struct Source: Sendable {
    let endpoint: Endpoint
    /// Failures since it last gave a good frame.
    var failures = 0
    /// Why it is not asked any more: it does not have the blob.
    var refusal: (any Error)?
  }

  private(set) var sources: [Source]
  /// The first frame that nobody has taken yet.
  private var next = 0
  /// Frames that were taken and did not come, or came corrupted; their memory stays reserved.
  private var returned: Set<Int> = []
  /// Who gave a frame corrupted, once for each time.
  private var corruptions: [Int: [Int]] = [:]
  /// Since when there were only failures; `nil` while frames come.
  private(set) var failingSince: Double?

  init(servers: [Endpoint]) {
    sources = servers.map { Source(endpoint: $0) }
  }

  /// Takes the next frames in their order: so many that memory has room for them and that others find work too.
  /// - Parameters:
  ///   - costs: Bytes of memory of each frame.
  ///   - share: Bytes of memory that one request may take. A frame larger than that travels alone.
  /// - Returns: Consecutive frames; `nil` while there are none, or no room.
  mutating func take(costs: [Int], bytesInFlight: inout Int, limit: Int, share: Int) -> Range<Int>? {
    if let first = returned.min() {
      var end = first
      var cost = 0
      while returned.contains(end), end == first || cost + costs[end] <= share {
        cost += costs[end]
        returned.remove(end)
        end += 1
      }
      return first..<end
    }
    let first = next
    var taken = 0
    while next < costs.count {
      let cost = costs[next]
      guard bytesInFlight == 0 || bytesInFlight + cost <= limit, next == first || taken + cost <= share else { break }
      bytesInFlight += cost
      taken += cost
      next += 1
    }
    return next > first ? first..<next : nil
  }

  /// Frames that did not come are there to be taken again.
  mutating func giveBack(_ frames: Range<Int>) { returned.formUnion(frames) }

  /// Whom to ask for these frames: who did not give them corrupted before, and then the first of those that do best.
  /// - Returns: `nil` where none is left.
  func best(for frames: Range<Int>) -> Int? {
    func faults(_ source: Int) -> (Int, Int) {
      let corrupted = frames.reduce(0) { sum, frame in
        sum + (corruptions[frame]?.count { $0 == source } ?? 0)
      }
      return (corrupted, sources[source].failures)
    }
    return sources.indices.filter { sources[$0].refusal == nil }.min { faults($0) < faults($1) }
  }

  mutating func failed(_ source: Int, at now: Double) {
    sources[source].failures += 1
    if failingSince == nil { failingSince = now }
  }

  mutating func refused(_ source: Int, _ error: any Error) { sources[source].refusal = error }

  mutating func arrived(from source: Int) {
    sources[source].failures = 0
    failingSince = nil
  }

  /// - Returns: How often this frame was corrupted by now.
  mutating func corrupted(_ frame: Int, from source: Int) -> Int {
    corruptions[frame, default: []].append(source)
    sources[source].failures += 1
    returned.insert(frame)
    return corruptions[frame]?.count ?? 0
  }
}
