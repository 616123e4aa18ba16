//! The user and group that workers become: found out before the first fork, assumed in each worker.
//!
//! It must not know how a worker is made.

use crate::account::{Account, Overruled};
use crate::error::Error;
use crate::sys::{self, Gid, Uid};
use crate::upgrade::Workers;
use crate::wording::list;

/// The most supplementary groups that a line names.
const MOST_NAMED: usize = 8;

/// The user, group and supplementary groups of the workers: what was asked for, completed by what this process has.
pub(crate) struct Credentials {
    /// User and group, as a line names them.
    pub(crate) who: String,
    /// `None`: workers keep the user of this process.
    user: Option<Uid>,
    group: Gid,
    /// The supplementary groups of the workers.
    groups: Vec<Gid>,
    /// This process may change the supplementary groups. If not, it has exactly these already.
    sets_groups: bool,
}

impl Credentials {
    /// Looks the user and group up, and checks that workers can become exactly these. `None` where neither option is given.
    pub(crate) fn resolve(user: Option<&Account>, group: Option<&Account>) -> Result<Option<Credentials>, Error> {
        let Some(asked) = user.or(group) else { return Ok(None) };
        let user = user.map(Person::find).transpose()?;
        let named = group.map(find_group).transpose()?;
        let primary = named.or(user.as_ref().and_then(|user| user.group));
        let groups = match (&user, primary) {
            (Some(Person { name: Some(name), .. }), Some(group)) => {
                sys::getgrouplist(name, group).map_err(system("getgrouplist(3)"))?
            }
            (_, Some(group)) => vec![group],
            // The groups of a user without an entry are not known, so workers keep those of this process.
            (_, None) => sys::getgroups().map_err(system("getgroups(2)"))?.unwrap_or_default(),
        };
        if let (Some(Person { uid, name: None, .. }), None) = (&user, primary) {
            if !sys::uids().contains(uid) {
                return Err(asked.refuse(format!(
                    "user {uid} has no entry in the system's list of users (`getent passwd {uid}`), so its group is not \
                     known: name one with the option group"
                )));
            }
        }
        let group = primary.unwrap_or_else(sys::getegid);
        let person = user.as_ref().map_or_else(|| describe_user(sys::geteuid()), Person::describe);
        let who = format!("{person}, {}", describe_group(group));
        let user = user.map(|user| user.uid);
        Credentials { who, user, group, groups, sets_groups: false }.check(asked).map(Some)
    }

    /// Checks that this process may make the change. It needs no rights for ids that it has already.
    fn check(mut self, asked: &Account) -> Result<Credentials, Error> {
        let needs_user = self.user.is_some_and(|uid| !sys::uids().contains(&uid));
        let needs_group = !sys::gids().contains(&self.group);
        let own = sys::getgroups().map_err(system("getgroups(2)"))?;
        let needs_groups = own.as_ref().is_some_and(|own| !are_same(own, &self.groups, self.group));
        let missing = sys::missing_rights(needs_user, needs_group || needs_groups);
        if (needs_user || needs_group) && !missing.is_empty() {
            return Err(asked.refuse(format!(
                "this process may not become {}: it is not root and lacks {}; start it as root or with these \
                 capabilities, or leave the option out",
                self.who,
                missing.join(", ")
            )));
        }
        if self.user.is_some_and(|uid| !sys::has_uid(uid)) || !sys::has_gid(self.group) {
            return Err(asked.refuse(format!(
                "this process cannot become {}: this user namespace (of a rootless container, say) has no such id: map \
                 it (/etc/subuid, /etc/subgid), or take one that /proc/self/uid_map and gid_map have",
                self.who
            )));
        }
        let may_set_groups = sys::missing_rights(false, true).is_empty() && !sys::groups_are_fixed();
        if needs_groups && !may_set_groups {
            return Err(asked.refuse(self.other_groups(own.unwrap_or_default())));
        }
        // Also where they look equal: a user namespace shows all groups that it does not map as one group.
        self.sets_groups = may_set_groups;
        Ok(self)
    }

    /// Why workers would have other groups than the option says, and what to do.
    fn other_groups(&self, own: Vec<Gid>) -> String {
        let besides = |some: &[Gid], others: &[Gid]| {
            let mut some = some.to_vec();
            some.retain(|gid| *gid != self.group && !others.contains(gid));
            names_of(&some)
        };
        let mut differences = Vec::new();
        if let Some(kept) = besides(&own, &self.groups) {
            differences.push(format!("would keep the supplementary {kept}"));
        }
        if let Some(missed) = besides(&self.groups, &own) {
            differences.push(format!("would lack the supplementary {missed}"));
        }
        let why = if sys::groups_are_fixed() {
            "this user namespace lets no process change groups (/proc/self/setgroups says deny)"
        } else {
            "this process is not root and lacks CAP_SETGID"
        };
        format!(
            "workers that run as {} {}: {why}; start it with the groups of this user (User= in a unit, or `setpriv \
             --init-groups`), or as root, or set PREFORK_USER=none and PREFORK_GROUP=none to have workers be what this \
             process is",
            self.who,
            differences.join(" and ")
        )
    }

    /// The log line that says which user and groups workers have.
    pub(crate) fn line(&self) -> String {
        let mut others = self.groups.clone();
        others.retain(|gid| *gid != self.group);
        let others = names_of(&others).map_or_else(String::new, |names| format!(", supplementary {names}"));
        let keeps_rights = self.user.is_none() && !sys::geteuid().is_root() && sys::has_capabilities().unwrap_or(false);
        let rights =
            if keeps_rights { ", with the capabilities of this process, which the option user takes" } else { "" };
        format!("workers run as {}{others}{rights}", self.who)
    }

    /// The workers' identity, if they have fewer rights than this process: another user, or no capabilities.
    pub(crate) fn unprivileged(&self) -> Option<Workers> {
        let user = self.user.filter(|uid| !uid.is_root())?;
        let supervisor = sys::geteuid();
        let has_more = supervisor != user || sys::has_capabilities().unwrap_or(true);
        let mut groups = self.groups.clone();
        groups.push(self.group);
        has_more.then_some(Workers { user, groups, supervisor })
    }

    /// Makes this process the user and group that were asked for, for good. After an error the process must end, as it may
    /// have more rights than that.
    ///
    /// Each call is made although ids may look the same already: setresuid(2) also sets the user for files (fsuid).
    pub(crate) fn assume(&self) -> Result<(), Error> {
        if self.sets_groups {
            sys::setgroups(&self.groups).map_err(system("setgroups(2)"))?;
        }
        sys::become_group(self.group).map_err(system("setresgid(2)"))?;
        if let Some(user) = self.user {
            sys::become_user(user).map_err(system("setresuid(2)"))?;
            if !user.is_root() {
                sys::drop_capabilities().map_err(system("capset(2)"))?;
            }
        }
        self.verify()
    }

    /// Checks the result, as the calls may lie: seccomp filters of container tools answer 0 and do nothing.
    fn verify(&self) -> Result<(), Error> {
        let differs = |call, what: String| {
            let reason = std::io::Error::other(format!("afterwards the process {what}"));
            Err(system(call)(reason))
        };
        let own = sys::getgroups().map_err(system("getgroups(2)"))?;
        if let Some(own) = own.filter(|own| !are_same(own, &self.groups, self.group)) {
            let names = names_of(&own).unwrap_or_else(|| "no groups".to_owned());
            return differs("setgroups(2)", format!("has the supplementary {names}"));
        }
        if let Some(gid) = sys::gids().iter().find(|gid| **gid != self.group) {
            return differs("setresgid(2)", format!("has gid {gid}"));
        }
        let Some(user) = self.user else { return Ok(()) };
        if let Some(uid) = sys::uids().iter().find(|uid| **uid != user) {
            return differs("setresuid(2)", format!("has uid {uid}"));
        }
        if user.is_root() {
            return Ok(());
        }
        if sys::has_capabilities().map_err(system("capget(2)"))? {
            return differs("capset(2)", "has capabilities".to_owned());
        }
        if sys::can_become_root() {
            return differs("setresuid(2)", "could become root again".to_owned());
        }
        Ok(())
    }
}

/// The warning for a variable that keeps workers root where the code makes them another user or group.
pub(crate) fn stays_root(overruled: &[Overruled], credentials: Option<&Credentials>) -> Option<String> {
    let stays = |option: &Overruled| match option.name() {
        "user" => match credentials.and_then(|credentials| credentials.user) {
            Some(uid) => uid.is_root(),
            None => sys::uids().iter().any(|uid| uid.is_root()) || sys::has_capabilities().unwrap_or(false),
        },
        _ => match credentials {
            Some(credentials) => credentials.group == Gid::from_raw(0),
            None => sys::gids().contains(&Gid::from_raw(0)),
        },
    };
    let (mut keep, mut in_environment, mut in_code) = (None, Vec::new(), Vec::new());
    for option in overruled.iter().filter(|option| stays(option)) {
        keep = keep.or(Some(match option.name() {
            "user" if sys::geteuid().is_root() => "workers stay root",
            "user" => "workers keep the capabilities of this process",
            _ => "workers stay in the group of root",
        }));
        in_environment.push(option.in_environment());
        in_code.push(option.in_code());
    }
    Some(format!(
        "{}: {} in the environment overrules {} in the code; unset it, unless that is wanted",
        keep?,
        in_environment.join(" and "),
        in_code.join(" and ")
    ))
}

/// Whether a process of this group has equal rights with either list of supplementary groups. Its own group may be missing
/// from a list: that changes no right, and getgroups(2) lists it or not depending on the program that started the process.
fn are_same(one: &[Gid], other: &[Gid], group: Gid) -> bool {
    let has_all = |groups: &[Gid], of: &[Gid]| of.iter().all(|gid| *gid == group || groups.contains(gid));
    has_all(one, other) && has_all(other, one)
}

/// "group adm (gid 4)", "groups adm (gid 4) and sudo (gid 27)"; `None` for no groups.
fn names_of(groups: &[Gid]) -> Option<String> {
    let word = match groups.len() {
        0 => return None,
        1 => "group",
        _ => "groups",
    };
    let names = list(groups.len(), MOST_NAMED, |nth, f| f.write_str(&group_name(groups[nth])));
    Some(format!("{word} {names}"))
}

fn system(call: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::System { call, source }
}

/// A user that was asked for.
struct Person {
    uid: Uid,
    /// The name, if the system has an entry.
    name: Option<String>,
    /// The primary group, if the system has an entry.
    group: Option<Gid>,
}

impl Person {
    fn find(asked: &Account) -> Result<Person, Error> {
        let name = &asked.name;
        let number = asked.number().map(Uid::from_raw);
        let entry = match number {
            Some(uid) => sys::getpwuid(uid).map_err(system("getpwuid(3)"))?,
            None => sys::getpwnam(name).map_err(system("getpwnam(3)"))?,
        };
        match (entry, number) {
            (Some(user), _) => Ok(Person { uid: user.uid, name: Some(user.name), group: Some(user.gid) }),
            (None, Some(uid)) => Ok(Person { uid, name: None, group: None }),
            (None, None) => Err(asked.refuse(format!(
                "there is no user {name:?} on this system: `getent passwd` lists them; write a name or a number"
            ))),
        }
    }

    fn describe(&self) -> String {
        match &self.name {
            Some(name) => format!("user {name} (uid {})", self.uid),
            None => format!("uid {}", self.uid),
        }
    }
}

fn find_group(asked: &Account) -> Result<Gid, Error> {
    match asked.number() {
        Some(gid) => Ok(Gid::from_raw(gid)),
        None => match sys::getgrnam(&asked.name).map_err(system("getgrnam(3)"))? {
            Some(group) => Ok(group.gid),
            None => Err(asked.refuse(format!(
                "there is no group {:?} on this system: `getent group` lists them; write a name or a number",
                asked.name
            ))),
        },
    }
}

fn describe_user(uid: Uid) -> String {
    match sys::getpwuid(uid) {
        Ok(Some(user)) => format!("user {} (uid {uid})", user.name),
        Ok(None) | Err(_) => format!("uid {uid}"),
    }
}

fn describe_group(gid: Gid) -> String {
    match sys::getgrgid(gid) {
        Ok(Some(group)) => format!("group {} (gid {gid})", group.name),
        Ok(None) | Err(_) => format!("gid {gid}"),
    }
}

/// A group as a list of groups names it.
fn group_name(gid: Gid) -> String {
    match sys::getgrgid(gid) {
        Ok(Some(group)) => format!("{} (gid {gid})", group.name),
        Ok(None) | Err(_) => gid.to_string(),
    }
}

#[cfg(test)]
mod tests;
