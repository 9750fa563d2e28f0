import DHCPClient
import StateClient
import StateProtocol

/// Tells the appliance the state `init`, until it answers with a plan to follow.
enum Report {
  static func run(_ boot: Boot) throws {
    boot.plan = nil
    while true {
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
      boot.flush()
      if let reason = plan.restart { throw RestartNeeded(reason: reason) }
      guard let wait = plan.wait else {
        boot.plan = plan
        boot.say("node \(plan.nodeName), \(plan.steps.count) steps from \(boot.server?.description ?? "the appliance")")
        return
      }
      boot.say("the appliance says: \(wait.reason)")
      boot.say("  asked again in \(wait.seconds) s")
      // Nodes that were told the same come back spread out.
      Clock.sleep(Double(wait.seconds) * Double.random(in: 0.8...1.2) + 0.1)
    }
  }
}

/// The machine goes through its firmware again, by the appliance's word: what it booted is not what it is to be.
package struct RestartNeeded: Error, Hashable, Sendable {
  package var reason: String

  package init(reason: String) {
    self.reason = reason
  }
}
