/* A model of `cartalg export` as a pair style of LAMMPS, loaded at run time:
 *
 *     plugin load ./cartalgplugin.so
 *     pair_style cartalg model.cartalg
 *     pair_coeff * * Mo Nb Ta W
 *
 * Values at ghosts are exchanged between layers, gradients back, by LAMMPS's own communication. Compiled with the
 * headers of one version of LAMMPS, whose number is CARTALG_LAMMPS, it refuses to run in another.
 */
#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "lammps.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "update.h"

#include <cstring>
#include <string>
#include <vector>

#include "cartalg.h"

using namespace LAMMPS_NS;

namespace {

class PairCartalg : public Pair {
 public:
  explicit PairCartalg(LAMMPS *lmp) : Pair(lmp)
  {
    restartinfo = 0;
    single_enable = 0;
    manybody_flag = one_coeff = no_virial_fdotr_compute = 1;
    centroidstressflag = CENTROID_NOTAVAIL;
  }

  ~PairCartalg() override
  {
    cartalg_free(model);
    if (allocated) {
      memory->destroy(setflag);
      memory->destroy(cutsq);
    }
  }

  /* pair_style cartalg FILE */
  void settings(int narg, char **arg) override
  {
    if (narg != 1) all("wants `pair_style cartalg FILE`, a file of `cartalg export`");
    cartalg_free(model);
    char message[256];
    if (cartalg_create(arg[0], &model, message, sizeof message)) all(message);
    if (strcmp(update->unit_style, "metal") != 0) all("units must be metal");
    widest_exchange();
  }

  /* pair_coeff * * ELEMENT_OF_TYPE_1 .. */
  void coeff(int narg, char **arg) override
  {
    const int types = atom->ntypes;
    if (narg != 2 + types || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
      all("wants `pair_coeff * *` and the element of each of the " + std::to_string(types) + " atom types");
    if (!allocated) {
      memory->create(setflag, types + 1, types + 1, "pair:setflag");
      memory->create(cutsq, types + 1, types + 1, "pair:cutsq");
      allocated = 1;
    }
    species.assign(types + 1, -1);
    for (int type = 1; type <= types; ++type) {
      for (int n = 0; n < cartalg_elements(model); ++n)
        if (strcmp(arg[1 + type], cartalg_symbol(model, n)) == 0) species[type] = n;
      if (species[type] < 0) all(std::string("the model does not know ") + arg[1 + type]);
      for (int other = 1; other <= types; ++other) setflag[type][other] = type <= other;
    }
  }

  void init_style() override
  {
    if (!force->newton_pair) all("needs `newton on`");
    if (atom->molecular != Atom::ATOMIC)
      for (int n = 1; n < 4; ++n)
        if (force->special_lj[n] == 0.0) all("put `special_bonds lj/coul 1 1 1` before: pairs must not be excluded");
    neighbor->add_request(this, NeighConst::REQ_FULL);
  }

  double init_one(int, int) override { return cartalg_cutoff(model); }

  void compute(int eflag, int vflag) override
  {
    ev_init(eflag, vflag);
    if (vflag_atom || cvflag_atom) all("has no virials of atoms; `python -m cartalg.interfaces.lammps` has them");
    const int own = atom->nlocal, every = own + atom->nghost;
    if (neighbor->ago == 0 || first.size() != static_cast<size_t>(own) + 1) read_list(own, every);
    double none[3] = {0.0, 0.0, 0.0};
    check(cartalg_begin(model, own, every - own, every ? atom->x[0] : none, types.data(), first.data(),
                        neighbours.data(), 1));
    while (true) {
      check(cartalg_next(model, &exchange));
      if (exchange.direction == CARTALG_DONE) break;
      if (exchange.direction == CARTALG_TO_GHOSTS)
        comm->forward_comm(this, words());
      else
        comm->reverse_comm(this, words());
    }
    double energy = 0.0, strain[9];
    energies.resize(every + 1);
    forces.resize(3 * every + 3);
    check(cartalg_end(model, &energy, energies.data(), forces.data(), strain));
    for (int n = 0; n < every; ++n)  /* those on ghosts go to their owners with LAMMPS's own */
      for (int axis = 0; axis < 3; ++axis) atom->f[n][axis] += forces[3 * n + axis];
    if (eflag_global) eng_vdwl += energy;
    if (eflag_atom)
      for (int n = 0; n < own; ++n) eatom[n] += energies[n];
    static const int place[6] = {0, 4, 8, 1, 2, 5};
    if (vflag_global)
      for (int n = 0; n < 6; ++n) virial[n] -= strain[place[n]];
  }

  int pack_forward_comm(int count, int *list, double *buffer, int, int *) override
  {
    for (int n = 0; n < count; ++n) memcpy(buffer + n * words(), row(list[n]), bytes());
    return count * words();
  }

  void unpack_forward_comm(int count, int begin, double *buffer) override
  {
    for (int n = 0; n < count; ++n) memcpy(row(begin + n), buffer + n * words(), bytes());
  }

  int pack_reverse_comm(int count, int begin, double *buffer) override
  {
    for (int n = 0; n < count; ++n) memcpy(buffer + n * words(), row(begin + n), bytes());
    return count * words();
  }

  /* A ghost's copy on another process may be a ghost there, which is sent on. */
  void unpack_reverse_comm(int count, int *list, double *buffer) override
  {
    for (int n = 0; n < count; ++n) {
      void *into = list[n] < atom->nlocal ? static_cast<char *>(exchange.into) + list[n] * bytes() : row(list[n]);
      if (exchange.bytes == 8)
        add(static_cast<double *>(into), buffer + n * words());
      else
        add(static_cast<float *>(into), reinterpret_cast<float *>(buffer + n * words()));
    }
  }

 private:
  cartalg_model *model = nullptr;
  cartalg_exchange exchange{};
  std::vector<int> species;
  std::vector<int32_t> types, neighbours;
  std::vector<int64_t> first;
  std::vector<double> energies, forces;

  size_t bytes() const { return exchange.width * exchange.bytes; }
  int words() const { return static_cast<int>((bytes() + sizeof(double) - 1) / sizeof(double)); }
  char *row(int n) const { return static_cast<char *>(exchange.rows) + n * bytes(); }

  template <typename Number> void add(Number *into, const Number *given) const
  {
    for (int64_t n = 0; n < exchange.width; ++n) into[n] += given[n];
  }

  [[noreturn]] void all(const std::string &text) { error->all(FLERR, "pair_style cartalg: " + text); }

  void check(int code)
  {
    if (code) error->one(FLERR, std::string("pair_style cartalg: ") + cartalg_message(model));
  }

  /* LAMMPS makes room for this much in its messages; no atoms make the same exchanges as many. */
  void widest_exchange()
  {
    const double position[3] = {0.0, 0.0, 0.0};
    const int64_t begin[1] = {0};
    const int32_t none[1] = {0};
    comm_forward = comm_reverse = 0;
    check(cartalg_begin(model, 0, 0, position, none, begin, none, 1));
    while (true) {
      check(cartalg_next(model, &exchange));
      if (exchange.direction == CARTALG_DONE) break;
      int &room = exchange.direction == CARTALG_TO_GHOSTS ? comm_forward : comm_reverse;
      if (room < words()) room = words();
    }
    check(cartalg_end(model, nullptr, nullptr, nullptr, nullptr));
  }

  void read_list(int own, int every)
  {
    types.resize(every + 1);
    for (int n = 0; n < every; ++n) types[n] = species[atom->type[n]];
    first.assign(own + 1, 0);
    for (int n = 0; n < list->inum; ++n) first[list->ilist[n] + 1] = list->numneigh[list->ilist[n]];
    for (int n = 0; n < own; ++n) first[n + 1] += first[n];
    neighbours.resize(first[own] + 1);
    for (int n = 0; n < own; ++n)
      for (int64_t k = first[n]; k < first[n + 1]; ++k) neighbours[k] = list->firstneigh[n][k - first[n]] & NEIGHMASK;
  }
};

/* As the page "Writing plugins" of LAMMPS's documentation describes what is registered. */
struct Registered {
  const char *version, *style, *name, *info, *author;
  void *create;
  void *handle;
};

Pair *create(LAMMPS *lmp)
{
  return new PairCartalg(lmp);
}

}    // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void *lmp, void *handle, void *enter)
{
  auto *engine = static_cast<LAMMPS *>(lmp);
  if (engine->num_ver != CARTALG_LAMMPS)
    engine->error->all(FLERR, "cartalgplugin.so was compiled for LAMMPS " + std::to_string(CARTALG_LAMMPS) +
                                  ", and this is " + std::to_string(engine->num_ver) + ": export the model again");
  static Registered style;
  style = {engine->version, "pair", "cartalg", "irreducible Cartesian tensors", "cartalg",
           reinterpret_cast<void *>(&create), handle};
  reinterpret_cast<void (*)(void *, void *)>(enter)(&style, lmp);
}
