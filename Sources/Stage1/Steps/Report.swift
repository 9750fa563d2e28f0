import DHCPClient
import StateClient
import StateProtocol

/// Tells the appliance the state `init`, until it answers with a plan to follow.
enum Report {
  static func run(_ boot: Boot) throws {
    boot.plan = nil
    var said: String?
    while true {
      boot.keepLease()
      let report = StateReport(
        state: "init", boot: boot.commandLine.boot,
        hardwareAddresses: NetworkCard.addresses(first: boot.card?.hardwareAddress, of: boot.cards),
        address: boot.lease?.address, facts: MachineFacts.read(generation: nil))
      let plan: Plan
      do {
        plan = try boot.withClient { client in try client.report(report) }
      } catch {
        boot.turnToNextServer()
        throw error
      }
      boot.tellStart()
      boot.flush()
      if let reason = plan.restart {
        boot.say("the appliance says: \(reason)")
        boot.say("  the machine restarts now")
        throw RestartNeeded(reason: reason)
      }
      guard let wait = plan.wait else {
        boot.plan = plan
        boot.say("node \(plan.nodeName), \(plan.steps.count) steps from \(boot.server?.description ?? "the appliance")")
        return
      }
      if wait.reason != said {
        boot.say("the appliance says: \(wait.reason)")
        boot.say("  asked again every \(wait.seconds) s")
        said = wait.reason
      }
      // Nodes that were told the same come back spread out.
      boot.wait(seconds: Double(wait.seconds) * Double.random(in: 0.8...1.2) + 0.1)
    }
  }
}
