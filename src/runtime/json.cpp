// Boost.JSON's own code, compiled once here for the whole project.
#include <boost/json/src.hpp>
