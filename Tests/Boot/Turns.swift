import Lab

/// Lets at most two machines boot at a time: an emulated boot keeps a processor busy, and a third one
/// would only make the waits of all longer.
actor Turns {
  static let machines = Turns(2)

  private var free: Int
  private var waiting: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []

  init(_ count: Int) {
    free = count
  }

  func take(_ count: Int, first: Bool) async {
    if waiting.isEmpty, free >= count {
      free -= count
    } else {
      await withCheckedContinuation { waiting.insert((count, $0), at: first ? 0 : waiting.endIndex) }
    }
  }

  func give(_ count: Int) {
    free += count
    while let first = waiting.first, first.count <= free {
      free -= first.count
      waiting.removeFirst().continuation.resume()
    }
  }
}

/// Runs `body` when so many machines may boot, first come first served.
/// - Parameter first: Before all who wait already.
func withTurns<Result>(
  _ count: Int, first: Bool = false, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
) async rethrows -> Result {
  await Turns.machines.take(count, first: first)
  do {
    let result = try await body()
    await Turns.machines.give(count)
    return result
  } catch {
    await Turns.machines.give(count)
    throw error
  }
}

/// How long one boot may take on a slow machine that does other things beside.
let bootBound = Duration.seconds(300)

/// Runs `body` beside an appliance that serves a site, with capsules in it.
///
/// The appliance's last words go into the error where `body` fails.
func withAppliance<Result>(
  suites: [String] = ["bookworm"], settings: Appliance.Settings = .init(),
  isolation: isolated (any Actor)? = #isolation,
  _ body: (Site, Appliance) async throws -> Result
) async throws -> Result {
  try await Site.with { site in
    let state = site.directory + "/state"
    try await CapsuleTemplate.shared.makeState(at: state, suites: suites)
    let appliance = try Appliance(site, state: state, settings: settings)
    try await appliance.start()
    do {
      let result = try await body(site, appliance)
      await appliance.stop()
      return result
    } catch {
      await appliance.stop()
      throw LabError("\(error)\nthe appliance said last:\n\(appliance.log?.tail(20) ?? "")")
    }
  }
}
