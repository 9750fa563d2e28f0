package import NetworkTypes

/// Decides whose search for an IPv6 router is ended with an answer, and when.
///
/// iPXE asks for a router after 0.25, 0.5, 1, 2, 4 and 8 seconds again and does not boot before it has
/// an answer or has asked for the last time: 16 seconds, each time it configures its card. An
/// advertisement that offers nothing ends the search. A router that is there must not be talked over:
///
/// - Only who asks twice within two seconds is answered, and not before half a second has passed since
///   it first asked: RFC 4861, section 6.2.6 lets a router take that long. Operating systems ask every
///   four seconds, and are never answered.
/// - While a router was heard within its longest pause, 1800 seconds (RFC 4861, section 6.2.1), no one is.
///
/// Times are seconds on a clock that only goes forward.
package struct RouterSearch: Sendable {
  /// A node to be answered.
  package struct Answer: Hashable, Sendable {
    package var card: MACAddress
    /// What it asked from; `::` where it has no address.
    package var source: IPv6Address
  }

  private struct Search {
    var first: Double
    var last: Double
    var source: IPv6Address
    var hasRepeated = false
  }

  /// Longest pause between a node's questions that belong to one search.
  package static let longestPause = 2.0
  /// How long routers have their say.
  package static let routersTime = 0.5
  /// How long a router counts as present that is not heard again.
  package static let routersSilence = 1800.0
  /// Searches kept at a time; beyond that, new ones wait for their turn: they go on asking.
  package static let maximumSearches = 4096
  /// Answers within one second, to all nodes together. By its half second of waiting each card gets
  /// two at most.
  package static let maximumAnswersPerSecond = 500

  private let ownCard: MACAddress
  private var searches: [MACAddress: Search] = [:]
  private var routerHeard: Double?
  private var answersSince: Double?
  private var answers = 0

  /// - Parameter ownCard: Our interface's: what our own kernel asks is not answered.
  package init(ownCard: MACAddress) {
    self.ownCard = ownCard
  }

  /// Whether a router is there; where it is, no node is answered.
  package func hearsRouter(at now: Double) -> Bool {
    routerHeard.map { now - $0 < Self.routersSilence } ?? false
  }

  package mutating func heard(_ message: RouterMessage, at now: Double) {
    switch message {
    case .advertisement(_, offersAnything: true):
      routerHeard = now
      searches.removeAll()
    case .advertisement(_, offersAnything: false):
      // Another appliance like this one, or a router that stops being one.
      break
    case .solicitation(let card, let source):
      guard card != ownCard, !hearsRouter(at: now) else { return }
      if var search = searches[card], now - search.last <= Self.longestPause {
        search.last = now
        search.source = source
        search.hasRepeated = true
        searches[card] = search
      } else {
        if searches.count >= Self.maximumSearches { forgetEnded(now) }
        guard searches.count < Self.maximumSearches else { return }
        searches[card] = Search(first: now, last: now, source: source)
      }
    }
  }

  /// Whether a node looks for a router.
  package func isSearched(at now: Double) -> Bool {
    searches.values.contains { now - $0.last <= Self.longestPause }
  }

  /// The time of the next answer; `nil` where none is due.
  package var nextAnswer: Double? {
    searches.values.lazy.filter(\.hasRepeated).map { $0.first + Self.routersTime }.min()
  }

  /// Takes the answers that are due. Who is answered and asks again begins a new search.
  package mutating func answersDue(at now: Double) -> [Answer] {
    var due: [Answer] = []
    for (card, search) in searches where search.hasRepeated && search.first + Self.routersTime <= now {
      searches[card] = nil
      if mayAnswer(now) { due.append(Answer(card: card, source: search.source)) }
    }
    return due
  }

  private mutating func mayAnswer(_ now: Double) -> Bool {
    if let since = answersSince, now - since < 1 {
      answers += 1
    } else {
      answersSince = now
      answers = 1
    }
    return answers <= Self.maximumAnswersPerSecond
  }

  private mutating func forgetEnded(_ now: Double) {
    searches = searches.filter { now - $0.value.last <= Self.longestPause }
  }
}
